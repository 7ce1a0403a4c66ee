"""Waiting for models that load and clients that do not read, and what a bug costs."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from nexus_proxy.state import RequestPhase
from tests.contract.hot.asking import CHAT, body_for, error_of, head_of, post, request_of
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend, faults

HUGE = Answer(text=("x" * 65_536,) * 600)
STREAM = json.dumps(body_for(CHAT, stream=True)).encode()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_loads_is_waited_for(
    gateway: RunningGateway, backend: ScriptedBackend, stream: bool
) -> None:
    """The gateway makes no second attempt, but this is none."""
    backend.behave(faults.loading, times=2)
    answer = await post(gateway, body_for(CHAT, stream=stream))
    assert answer.status_code == 200
    assert answer.headers["x-nexus-route-reason"] == "capability-match"
    assert len(backend.generations) == 3
    request = gateway.runtime.history.get(answer.headers["x-request-id"])
    assert [attempt.error is None for attempt in request.attempts] == [False, True]
    assert gateway.runtime.registry.get("one").failures == 0


async def test_the_wait_is_filled_with_comments(
    gateway: RunningGateway, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nexus_proxy.relay.call.OPEN_AFTER", 0.05)
    monkeypatch.setattr("nexus_proxy.relay.call.PING_EVERY", 0.05)
    monkeypatch.setattr("nexus_proxy.relay.call.LOOK_EVERY", 0.02)
    backend.behave(faults.loading, times=2)
    answer = await post(gateway, body_for(CHAT, stream=True))
    assert answer.text.startswith(": ping\n")
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_another_backend_is_not_kept_waiting(backend: ScriptedBackend) -> None:
    async with (
        ScriptedBackend(name="ready") as ready,
        running_gateway(
            [
                backend_entry("one", backend.url, priority=1),
                backend_entry("ready", ready.url, priority=90),
            ],
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        backend.behave(faults.loading)
        answer = await post(gateway, body_for(CHAT))
        assert answer.headers["x-nexus-backend"] == "ready"
        assert answer.headers["x-nexus-route-reason"] == "failover"
        assert len(backend.generations) == 1


async def test_the_load_clock_ends_the_wait(backend: ScriptedBackend) -> None:
    async with running_gateway(
        [backend_entry("one", backend.url)],
        timeouts={"load_seconds": 0.6},
        routing={"max_retries": 0},
    ) as gateway:
        backend.behave(faults.loading)
        answer = await post(gateway, body_for(CHAT))
        assert error_of(answer, 503, 503)["message"] == "Loading model"
        assert answer.headers["x-nexus-backend"] == "one"


async def read_slowly(
    gateway: RunningGateway, pause: float, framing: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for a stream, read its beginning, and rest for so many seconds."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    if framing == "content_length":
        writer.write(request_of(STREAM))
    else:
        head = head_of(content_type="application/json", transfer_encoding="chunked")
        writer.write(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM), STREAM))
    await reader.readuntil(b"\r\n\r\n")
    await asyncio.sleep(pause)
    return reader, writer


@pytest.mark.parametrize("framing", ["content_length", "transfer_encoding"])
async def test_a_slow_client_does_not_let_the_backends_clock_run_out(
    backend: ScriptedBackend, framing: str
) -> None:
    async with running_gateway(
        [backend_entry("one", backend.url)], timeouts={"idle_seconds": 0.2}
    ) as gateway:
        backend.behave(HUGE)
        reader, writer = await read_slowly(gateway, 1.0, framing)
        rest = await reader.read(-1)
        writer.close()
        assert b"data: [DONE]\n\n" in rest[-100:]
        assert gateway.runtime.registry.get("one").failures == 0


@pytest.mark.parametrize("framing", ["content_length", "transfer_encoding"])
async def test_a_client_that_reads_no_more_loses_its_slot(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    monkeypatch.setattr("nexus_proxy.api.asgi.READER_SECONDS", 0.3)
    monkeypatch.setattr("nexus_proxy.server.lane.READER_SECONDS", 0.3)
    monkeypatch.setattr("nexus_proxy.server.lane.SWEEP_SECONDS", 0.1)
    async with running_gateway(
        [backend_entry("one", backend.url, max_concurrent=1)], timeouts={"idle_seconds": 0.2}
    ) as gateway:
        backend.behave(HUGE)
        _, writer = await read_slowly(gateway, 0.0, framing)
        await backend.generations[0].closed()
        await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
        assert gateway.runtime.registry.get("one").in_flight == 0
        assert gateway.runtime.registry.get("one").failures == 0
        assert gateway.runtime.history.newest(1)[0].phase is RequestPhase.CANCELLED
        backend.behave()
        assert (await post(gateway, body_for(CHAT))).status_code == 200
        writer.close()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_bug_costs_its_request_and_nothing_else(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret detail")

    with monkeypatch.context() as patched:
        patched.setattr("nexus_proxy.relay.attempts.Outbound", broken)
        answer = await post(gateway, body_for(CHAT, stream=stream))
    error = error_of(answer, 500, "internal_error")
    assert "secret" not in error["message"]
    assert answer.headers["x-nexus-backend"] == "one"
    assert gateway.runtime.registry.get("one").in_flight == 0
    request = gateway.runtime.history.get(answer.headers["x-request-id"])
    assert (request.phase, request.status) == (RequestPhase.FAILED, 500)
    assert any("met a bug" in line.message for line in gateway.runtime.logs.ring.lines)
    assert (await post(gateway, body_for(CHAT, stream=stream))).status_code == 200
