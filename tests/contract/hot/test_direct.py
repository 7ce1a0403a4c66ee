"""Rerank, audio, images, moderations: passed through to who has them, whatever they carry."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.contract.hot.asking import error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Exchange, Recorded, ScriptedBackend, faults

RERANK = "/v1/rerank"
ASKED: dict[str, Any] = {"model": "m", "query": "who?", "documents": ["a", "b"]}
RANKED = {
    "model": "m",
    "results": [{"index": 1, "relevance_score": 0.9}],
    "usage": {"prompt_tokens": 12, "total_tokens": 12},
}
SOUND = bytes(range(256)) * 4096
MP3 = "audio/mpeg"


async def speak(exchange: Exchange) -> None:
    await exchange.write(exchange.head(200, {"content-type": MP3, "transfer-encoding": "chunked"}))
    await exchange.chunk(SOUND)
    await exchange.held()
    await exchange.chunk(SOUND)
    await exchange.write(b"0\r\n\r\n")


async def break_off(exchange: Exchange) -> None:
    await exchange.write(exchange.head(200, {"content-type": MP3, "transfer-encoding": "chunked"}))
    await exchange.chunk(SOUND)
    exchange.reset()


def posted(backend: ScriptedBackend) -> Recorded:
    """The last request that is no probe."""
    return next(one for one in reversed(backend.requests) if one.method == "POST")


async def test_rerank_goes_through_with_its_alias_and_its_usage(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.routes[RERANK] = RANKED
    answer = await post(gateway, {**ASKED, "model": "n"}, "/rerank")
    assert answer.json() == {**RANKED, "model": "n"}
    sent = posted(backend)
    assert (sent.path, sent.json) == (RERANK, ASKED)
    assert answer.headers["x-nexus-backend"] == "one"
    record = gateway.runtime.history.get(answer.headers["x-request-id"])
    assert (record.endpoint, record.prompt_tokens) == ("rerank", 12)


async def test_a_form_goes_through_byte_for_byte_but_for_the_model(
    gateway: RunningGateway, backend: ScriptedBackend, sdk: openai.AsyncOpenAI
) -> None:
    backend.routes["/v1/audio/transcriptions"] = {"text": "Hello", "usage": {"input_tokens": 3}}
    heard = await sdk.audio.transcriptions.create(model="n", file=("a.wav", SOUND), prompt="Hi")
    assert heard.text == "Hello"
    sent = posted(backend)
    assert (sent.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert b'name="model"\r\n\r\nm\r\n' in sent.body
    assert SOUND in sent.body
    asked = httpx.Request(
        "POST",
        f"{gateway.url}/v1/images/edits",
        data={"model": "m", "prompt": "a cat"},
        files={"image": ("model", SOUND, "image/png")},
    )
    asked.read()
    backend.routes["/v1/images/edits"] = {"created": 1, "data": []}
    answer = await gateway.client.send(asked)
    assert answer.json() == {"created": 1, "data": []}
    assert posted(backend).body == asked.content


async def test_sound_comes_as_it_is_made(
    gateway: RunningGateway, backend: ScriptedBackend, sdk: openai.AsyncOpenAI
) -> None:
    backend.routes["/v1/audio/speech"] = speak
    async with sdk.audio.speech.with_streaming_response.create(
        model="m", voice="alloy", input="Hello"
    ) as answer:
        assert answer.headers["content-type"] == MP3
        pieces = answer.iter_bytes(len(SOUND))
        assert await anext(pieces) == SOUND
        backend.release()
        assert b"".join([piece async for piece in pieces]) == SOUND


@pytest.mark.parametrize("chunked", [False, True], ids=["lane", "asgi"])
async def test_sound_that_breaks_off_has_no_clean_end(
    gateway: RunningGateway, backend: ScriptedBackend, chunked: bool
) -> None:
    backend.routes["/v1/audio/speech"] = break_off
    content = json.dumps({"model": "m", "input": "Hello"}).encode()

    async def piecemeal() -> Any:
        yield content

    with pytest.raises(httpx.RemoteProtocolError):
        await gateway.client.post("/v1/audio/speech", content=piecemeal() if chunked else content)
    await gateway.until(lambda: gateway.runtime.history.totals().failures == 1)


async def test_a_moderation_without_a_model_means_the_usual_one(
    sdk: openai.AsyncOpenAI,
) -> None:
    with pytest.raises(openai.NotFoundError, match="omni-moderation-latest"):
        await sdk.moderations.create(input="Hi")


@pytest.mark.parametrize(
    ("path", "content", "kind", "status"),
    [
        (RERANK, b"--x--", "multipart/form-data; boundary=x", 415),
        ("/v1/audio/transcriptions", b"--x--", "multipart/form-data", 400),
        ("/v1/audio/transcriptions", b"--x--", "multipart/form-data; boundary=x", 400),
        (RERANK, b"{}", "application/json", 400),
    ],
)
async def test_what_cannot_be_read_is_refused_in_the_callers_form(
    gateway: RunningGateway, path: str, content: bytes, kind: str, status: int
) -> None:
    answer = await post(gateway, content, path, {"content-type": kind})
    assert error_of(answer, status, answer.json()["error"]["code"])["type"]
    assert answer.status_code == status


async def test_who_has_no_such_route_is_passed_over_and_remembered() -> None:
    async with (
        ScriptedBackend(name="without") as without,
        ScriptedBackend(name="has", routes={RERANK: RANKED}) as has,
        running_gateway(
            [
                backend_entry("without", without.url, priority=1),
                backend_entry("has", has.url, priority=90),
            ],
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        for _ in range(2):
            answer = await post(gateway, ASKED, RERANK)
            assert answer.headers["x-nexus-backend"] == "has"
        asked = [request for request in without.probes if request.path == RERANK]
        assert len(asked) == 1, "it is not asked again"
        chat = await gateway.chat()
        assert chat.headers["x-nexus-backend"] == "without", "it chats as before"
        assert gateway.runtime.registry.get("without").failures == 0
        await gateway.runtime.run_command("backend.drain", {"backend": "has"})
        error = error_of(await post(gateway, ASKED, RERANK), 503, "no_available_backend")
        assert "m cannot do rerank there: without answered 404" in error["message"]


async def test_kinds_that_never_have_it_are_not_asked(backend: ScriptedBackend) -> None:
    async with running_gateway(
        [backend_entry("one", backend.url, type="lmstudio")],
        wait_up=False,
        health_check={"enabled": False},
    ) as gateway:
        registry = gateway.runtime.registry
        await gateway.until(lambda: "one" in registry)
        backend.behave(faults.error_with_200, on="probes")
        answer = await post(gateway, {**ASKED, "model": "one/m"}, RERANK)
        error = error_of(answer, 503, "no_available_backend")
        assert "have no route for rerank" in error["message"]
        assert not [request for request in backend.requests if request.path == RERANK]


async def test_what_no_tokens_were_told_of_costs_an_unknown_sum_and_not_nothing(
    backend: ScriptedBackend,
) -> None:
    price = {"model": "m", "input_usd_per_million": 2.0}
    backend.routes[RERANK] = RANKED
    backend.routes["/v1/audio/speech"] = faults.raw(200, SOUND, MP3)
    async with running_gateway([backend_entry("one", backend.url)], prices=[price]) as gateway:
        ranked = await post(gateway, ASKED, RERANK)
        spoken = await post(gateway, {"model": "m", "input": "Hi"}, "/v1/audio/speech")
        assert ranked.headers["x-nexus-cost-estimated"] == "unknown"
        history = gateway.runtime.history
        counted, uncounted = (history.get(a.headers["x-request-id"]) for a in (ranked, spoken))
        assert counted.cost_usd == pytest.approx(12 * 2.0 / 1_000_000)
        assert counted.cost_source == "estimated"
        assert (uncounted.cost_usd, uncounted.cost_source) == (None, "unknown")
