"""The client going away closes the upstream within a second, at any moment and in both modes."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from nexus_proxy.state import RequestPhase
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Exchange, ScriptedBackend, faults

WITHIN = 1.0


async def ask_and_leave(gateway: RunningGateway, body: dict[str, Any], after: bytes) -> None:
    """Send a request over a raw socket, read until `after` was seen, and hang up."""
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    payload = json.dumps(body).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(payload), payload)
    )
    await writer.drain()
    if after:
        await reader.readuntil(after)
    else:
        await gateway.until(lambda: gateway.runtime.history.in_flight > 0)
        await gateway.until(
            lambda: gateway.runtime.history.newest(1)[0].phase is RequestPhase.WAITING
        )
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    ("stream", "behaviour", "after"),
    [
        (True, faults.hang, b""),
        (False, faults.hang, b""),
        (True, Answer(hold_before=3), b"from"),
        (False, Answer(hold_before="headers"), b""),
    ],
    ids=["waiting, stream", "waiting, whole", "streaming", "generating, whole"],
)
async def test_leaving_closes_the_upstream(
    gateway: RunningGateway,
    first: ScriptedBackend,
    second: ScriptedBackend,
    stream: bool,
    behaviour: Any,
    after: bytes,
    timeouts: dict[str, Any],
) -> None:
    first.behave(behaviour)
    body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    leaving = asyncio.get_running_loop().create_task(ask_and_leave(gateway, body, after))
    await first.until(lambda: bool(first.generations))
    await leaving
    left_at = asyncio.get_running_loop().time()
    await first.generations[0].closed(within=5.0)
    assert first.generations[0].left_at is not None
    assert first.generations[0].left_at - left_at < WITHIN
    await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
    assert gateway.runtime.registry.get("first").in_flight == 0
    assert gateway.runtime.registry.get("first").failures == 0
    assert gateway.runtime.history.newest(1)[0].phase is RequestPhase.CANCELLED
    assert not second.generations


async def test_a_slow_reader_slows_the_backend_down_instead_of_filling_memory(
    gateway: RunningGateway, first: ScriptedBackend
) -> None:
    first.behave(Answer(text=("x" * 65_536,) * 1_000))
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    body = json.dumps({"model": "m", "stream": True, "messages": [{"content": "hi"}]}).encode()
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n%b"
        % (len(body), body)
    )
    await reader.readuntil(b"\r\n\r\n")
    await first.until(lambda: first.generations[0].sent > 100_000)
    sent = -1
    while first.generations[0].sent != sent:
        # No event marks "nothing more happens": looked at until two looks agree.
        sent = first.generations[0].sent
        await asyncio.sleep(0.3)
    assert sent < 40_000_000, "the gateway swallowed what its client did not read"
    writer.close()
    await writer.wait_closed()
    await first.generations[0].closed()


class Lingering(Answer):
    """Its body goes on for a moment after its last event."""

    async def _end(self, exchange: Exchange) -> None:
        await exchange.held()
        await super()._end(exchange)


async def test_who_leaves_after_the_last_event_had_its_answer(
    gateway: RunningGateway, first: ScriptedBackend, timeouts: dict[str, Any]
) -> None:
    first.behave(Lingering())
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    await ask_and_leave(gateway, body, b"data: [DONE]\n\n")
    await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
    view = gateway.runtime.history.newest(1)[0]
    assert (view.phase, view.status, view.error) == (RequestPhase.DONE, 200, None)
    assert view.attempts[0].error is None
    assert view.usage_source == "measured"
    assert gateway.runtime.history.totals().cancelled == 0
