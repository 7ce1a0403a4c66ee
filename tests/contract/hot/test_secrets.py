"""Keys stay where they belong: the client's with us, a backend's with that backend."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import msgspec
import pytest

from nexus_proxy.state import ModelInfo, Probe, RequestPhase
from tests.contract.hot.asking import CHAT, CLIENT_KEY, COMPLETIONS, EMBEDDINGS, body_for, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Behaviour, Exchange, ScriptedBackend, faults
from tests.support.scripted.payloads import sse

LEFT_KEY = 'canary-left/"0123456789'
RIGHT_KEY = "canary-right-0123456789"
ENVIRON = {"LEFT": LEFT_KEY, "RIGHT": f"  {RIGHT_KEY}\n"}
CREDENTIALS = {
    "authorization": f"Bearer {CLIENT_KEY}",
    "x-api-key": CLIENT_KEY,
    "api-key": CLIENT_KEY,
    "x-goog-api-key": CLIENT_KEY,
    "cookie": f"session={CLIENT_KEY}",
    "proxy-authorization": f"Basic {CLIENT_KEY}",
    "x-custom": CLIENT_KEY,
    "x-forwarded-for": "10.0.0.1",
}


@pytest.fixture
async def left() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="left", api_key=LEFT_KEY) as one:
        yield one


@pytest.fixture
async def right() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="right", api_key=RIGHT_KEY) as one:
        yield one


@pytest.fixture
async def keyed(left: ScriptedBackend, right: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    entries = [
        backend_entry("left", left.url, api_key_env="LEFT", priority=1),
        backend_entry("right", right.url, api_key_env="RIGHT", priority=90),
    ]
    async with running_gateway(
        entries, environ=ENVIRON, routing={"strategy": "priority_only", "max_retries": 1}
    ) as running:
        yield running


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
async def test_a_clients_credentials_never_reach_a_backend(
    gateway: RunningGateway, backend: ScriptedBackend, path: str
) -> None:
    kept = {"traceparent": "00-1-2-01", "idempotency-key": "i1", "openai-organization": "o1"}
    answer = await post(gateway, body_for(path), path, {**CREDENTIALS, **kept})
    assert answer.status_code == 200
    (got,) = backend.generations
    assert CLIENT_KEY not in repr(got.headers)
    assert {name: got.header(name) for name in kept} == kept
    assert {name for name, _ in got.headers} - kept.keys() == {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
        "x-nexus-hops",
    }
    assert got.header("host") == backend.url.removeprefix("http://")


async def test_a_backends_key_reaches_that_backend_alone(
    keyed: RunningGateway, left: ScriptedBackend, right: ScriptedBackend
) -> None:
    left.behave(faults.status(500))
    answer = await post(keyed, body_for(CHAT), headers=CREDENTIALS)
    assert answer.headers["x-nexus-backend"] == "right"
    assert {r.header("authorization") for r in left.requests} == {f"Bearer {LEFT_KEY}"}
    assert {r.header("authorization") for r in right.requests} == {f"Bearer {RIGHT_KEY}"}


async def _echo(exchange: Exchange) -> None:
    """401 that quotes the key, in a header too, as it came and as careful encoders write it."""
    key = (exchange.request.header("authorization") or "").removeprefix("Bearer ")
    quoted = json.dumps(key)[1:-1].replace("/", "\\/")
    body = f'{{"error":{{"message":"Incorrect API key {json.dumps(key)[1:-1]} {quoted}","x":1}}}}'
    headers = {"x-request-id": key, "openai-processing-ms": key}
    await exchange.respond(401, body.encode(), "application/json", headers)


async def _echo_in_words(exchange: Exchange) -> None:
    said = exchange.request.header("authorization") or ""
    await exchange.respond(503, said.encode(), "text/plain")


async def _echo_in_200(exchange: Exchange) -> None:
    said = exchange.request.header("authorization") or ""
    await exchange.json(200, {"error": f"Unexpected {said}"})


async def _echo_in_stream(exchange: Exchange) -> None:
    """An error event that quotes the key, after the first tokens."""
    answer = Answer()
    events = list(answer.events(exchange.request, exchange.name))[:3]
    said = exchange.request.header("authorization") or ""
    events.append(sse({"error": {"message": f"no credit on {said}", "type": "x"}}))
    headers = {"content-type": "text/event-stream", "content-length": str(sum(map(len, events)))}
    await exchange.write(exchange.head(200, headers) + b"".join(events))


def secrets_in(text: str) -> list[str]:
    return [part for part in ("canary", CLIENT_KEY) if part in text]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "behaviour", [_echo, _echo_in_words, _echo_in_200, _echo_in_stream, faults.hang, faults.html]
)
async def test_nothing_that_leaves_the_gateway_holds_a_key(
    left: ScriptedBackend, stream: bool, behaviour: Behaviour
) -> None:
    async with running_gateway(
        [backend_entry("left", left.url, api_key_env="LEFT")],
        environ=ENVIRON,
        routing={"max_retries": 0},
        timeouts={"first_token_seconds": 0.3},
        logging={"level": "debug"},
    ) as gateway:
        left.behave(behaviour)
        answer = await post(gateway, body_for(CHAT, stream=stream), headers=CREDENTIALS)
        runtime = gateway.runtime
        request = runtime.history.newest(1)[0]
        assert request.phase is RequestPhase.FAILED
        snapshot = msgspec.json.encode(runtime.snapshot()).decode()
        for said in (answer.text, repr(answer.headers), repr(request), snapshot):
            assert not secrets_in(said)
        state = await gateway.client.get("/nexus/v1/state")
        assert state.status_code == 200
        assert not secrets_in(state.text)
        if behaviour is _echo:
            assert answer.status_code == 401
            assert answer.json()["error"]["x"] == 1
            assert answer.text.count("[key]") == 2
    lines = [line.message for line in runtime.logs.ring.lines]
    assert any(request.id in line for line in lines)
    assert not secrets_in(repr(lines))


async def test_a_key_with_characters_that_http_cannot_carry_is_not_sent() -> None:
    async with (
        ScriptedBackend(name="one") as one,
        running_gateway(
            [backend_entry("one", one.url, api_key_env="KEY")],
            environ={"KEY": "canary\r\nx-evil: 1"},
            wait_up=False,
            health_check={"enabled": False},
            routing={"max_retries": 0},
        ) as gateway,
    ):
        registry = gateway.runtime.registry
        await gateway.until(lambda: "one" in registry)
        registry.seen("one", Probe(models=(ModelInfo(id="m"),)), probe_ms=1.0)
        answer = await post(gateway, body_for(CHAT))
        assert answer.status_code == 502
        assert "characters that HTTP cannot carry (KEY)" in answer.json()["error"]["message"]
        assert not secrets_in(answer.text)
        assert not one.generations
