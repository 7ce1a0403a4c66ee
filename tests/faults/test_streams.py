"""After the first byte: a whole stream, or an error that clients raise on. Nothing between."""

from __future__ import annotations

import openai
import pytest

from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Cut, Framing, ScriptedBackend

LATE = [Cut.CLEAN_EOF, Cut.MID_EVENT, Cut.MID_CHUNK, Cut.CLOSE, Cut.RESET, Cut.STALL, Cut.COMMENTS]


@pytest.mark.parametrize("cut", LATE)
async def test_a_break_becomes_an_error_and_never_a_clean_end(
    gateway: RunningGateway, first: ScriptedBackend, second: ScriptedBackend, cut: Cut
) -> None:
    first.behave(Answer(cut=cut, after=3))
    seen = await stream_chat(gateway)
    assert seen.status == 200
    assert seen.text == "Hello from"
    assert seen.error is not None
    assert "first" in seen.error["message"]
    assert seen.dones == 0
    assert seen.finish == "error"
    assert not second.generations, "a second answer must not be glued to the first"
    assert gateway.runtime.registry.get("first").in_flight == 0


@pytest.mark.parametrize("cut", [Cut.CLEAN_EOF, Cut.CLOSE, Cut.STALL])
async def test_the_real_sdk_raises_on_a_broken_stream(
    gateway: RunningGateway, first: ScriptedBackend, cut: Cut
) -> None:
    first.behave(Answer(cut=cut, after=3))
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="x", max_retries=0
    ) as client:
        stream = await client.chat.completions.create(
            model="m", stream=True, messages=[{"role": "user", "content": "hi"}]
        )
        with pytest.raises(openai.APIError):
            async for _chunk in stream:
                pass


async def test_the_backends_own_error_event_is_passed_on_once_and_the_sdk_raises(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.behave(Answer(cut=Cut.ERROR_EVENT, after=3, hold_before=3))
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="x", max_retries=0
    ) as client:
        stream = await client.chat.completions.create(
            model="m", stream=True, messages=[{"role": "user", "content": "hi"}]
        )
        await anext(stream)
        first.release()
        with pytest.raises(openai.APIError, match="it broke"):
            async for _chunk in stream:
                pass


async def test_an_error_event_before_anything_was_sent_is_another_backends_chance(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.behave(Answer(cut=Cut.ERROR_EVENT, after=1))
    assert (await stream_chat(gateway)).text == "Hello from second."


async def test_a_missing_done_is_added_when_a_finish_reason_came(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.behave(Answer(done=False))
    seen = await stream_chat(gateway)
    assert (seen.text, seen.finish, seen.dones) == ("Hello from first.", "stop", 1)


async def test_done_without_a_finish_reason_is_an_end(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.behave(Answer(finish=None))
    seen = await stream_chat(gateway)
    assert (seen.error, seen.dones) == (None, 1)


@pytest.mark.parametrize("framing", list(Framing))
@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
async def test_however_it_is_framed_the_stream_arrives(
    gateway: RunningGateway, first: ScriptedBackend, framing: Framing, newline: bytes
) -> None:
    text = ("a\u2028b", "c\x85d", "日本", " end")
    first.behave(Answer(framing=framing, newline=newline, text=text, noise=True))
    seen = await stream_chat(gateway)
    assert seen.text == "".join(text)
    assert (seen.finish, seen.dones) == ("stop", 1)


async def test_the_bytes_of_a_stream_are_the_backends_bytes(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    import httpx

    first.behave(Answer(noise=True, reasoning=("hm", "aha"), text=("x" * 1_000_000, "y")))
    body = {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": "hi"}],
    }
    async with httpx.AsyncClient(trust_env=False) as direct:
        expected = (await direct.post(f"{first.url}/v1/chat/completions", json=body)).content
    seen = await stream_chat(gateway, stream_options={"include_usage": True})
    comment = b": a comment\n\n"
    first_token = expected.index(b'"hm"')
    # Comments before the first token promise nothing and are dropped.
    assert seen.raw == expected[:first_token].replace(comment, b"") + expected[first_token:]


async def test_usage_is_asked_for_and_its_chunk_is_stripped_unless_the_client_asked(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    seen = await stream_chat(gateway, stream_options={"extra": 1})
    assert first.generations[-1].json["stream_options"] == {"extra": 1, "include_usage": True}
    assert all(c["choices"] for c in seen.chunks)
    why = gateway.runtime.history.get(seen.headers["x-request-id"])
    assert (why.prompt_tokens, why.usage_source) == (7, "measured")
    asked = await stream_chat(gateway, stream_options={"include_usage": True})
    assert asked.chunks[-1]["choices"] == []
    assert asked.chunks[-1]["usage"]["prompt_tokens"] == 7


async def test_chunks_are_passed_on_as_they_come(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.behave(Answer(hold_before=3))
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with gateway.client.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_raw()
        got = b""
        while b"from" not in got:
            got += await anext(pieces)
        assert b"[DONE]" not in got, "the first tokens came while the backend still holds the rest"
        first.release()
        got += b"".join([piece async for piece in pieces])
    assert got.endswith(b"data: [DONE]\n\n")


async def test_forty_streams_in_a_row_through_a_backend_that_closes_after_each() -> None:
    from tests.support.gateway import backend_entry, running_gateway

    async with (
        ScriptedBackend(name="closer", closes_after_stream=True) as closer,
        running_gateway([backend_entry("closer", closer.url)]) as gateway,
    ):
        for _ in range(40):
            seen = await stream_chat(gateway)
            assert (seen.status, seen.dones, seen.error) == (200, 1, None)
        assert gateway.runtime.registry.get("closer").failures == 0
        assert len(closer.generations) == 40
