"""The client leaving, at any moment and in any way, ends its request and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nexus_proxy.state import RequestPhase
from tests.contract.lane.client import Client, chat_body, connected, post
from tests.contract.lane.looking import eventually, lane_connections, stuck
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, ScriptedBackend, faults

LEAVING = {
    "closing": Client.leave,
    "resetting": Client.reset,
    "half-closing": lambda client: client.writer.write_eof(),
}
leaving_ways = pytest.mark.parametrize("leave", LEAVING.values(), ids=LEAVING)
Leave = Callable[[Client], None]


@leaving_ways
@pytest.mark.parametrize("cut", [1, 30, 150], ids=["first byte", "head", "body"])
async def test_in_the_middle_of_a_request(
    gateway: RunningGateway, backend: ScriptedBackend, leave: Leave, cut: int
) -> None:
    async with connected(gateway) as client:
        await client.send(post()[:cut])
        await eventually(lambda: len(lane_connections(gateway)) == 1)
        leave(client)
        await eventually(lambda: not lane_connections(gateway))
    assert not backend.generations


@leaving_ways
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
async def test_while_it_is_answered(
    gateway: RunningGateway,
    backend: ScriptedBackend,
    leave: Leave,
    stream: bool,
    behaviour: Any,
    after: bytes,
) -> None:
    backend.behave(behaviour)
    async with connected(gateway) as client:
        await client.send(post(chat_body(stream=stream)))
        await backend.until(lambda: bool(backend.generations))
        if after:
            await client.until(after)
        leave(client)
        await backend.generations[0].closed()
        await eventually(lambda: not lane_connections(gateway))
    await gone(gateway)


@leaving_ways
async def test_while_it_does_not_read(
    gateway: RunningGateway, backend: ScriptedBackend, leave: Leave
) -> None:
    backend.behave(Answer(text=("x" * 65_536,) * 1_000))
    async with connected(gateway, limit=1024) as client:
        await client.send(post(chat_body(stream=True)))
        await client.until(b"\r\n\r\n")
        await stuck(backend)
        leave(client)
        await backend.generations[0].closed()
        await gone(gateway)


@leaving_ways
async def test_before_the_task_of_its_request_has_run(
    gateway: RunningGateway, backend: ScriptedBackend, leave: Leave
) -> None:
    async with connected(gateway) as client:
        client.writer.write(post() * 3)
        leave(client)
        await eventually(lambda: not lane_connections(gateway))
    await eventually(lambda: gateway.runtime.history.in_flight == 0)


async def test_a_slow_reader_pauses_its_backend(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """Bytes on the way are those in socket buffers; the gateway itself holds next to none."""
    pieces = 600
    backend.behave(Answer(text=("x" * 65_536,) * pieces))
    async with connected(gateway, limit=1024) as client:
        await client.send(post(chat_body(stream=True)))
        sent = await stuck(backend)
        assert sent < 30_000_000 < pieces * 65_536
        answer = await client.answer()
    assert answer.body.count(b"x" * 65_536) == pieces
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_an_answer_waits_until_the_one_before_has_left(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """Else a client that asks and never reads could fill the memory."""
    backend.behave(Answer(text=("x" * 4_000_000,)))
    async with connected(gateway, limit=1024) as client:
        client.writer.write(post() * 50)
        await stuck(backend)
        assert len(backend.generations) < 10


async def gone(gateway: RunningGateway) -> None:
    """Wait until the one request has ended, as one whose client left."""
    history = gateway.runtime.history
    await eventually(lambda: history.in_flight == 0)
    assert history.newest(1)[0].phase is RequestPhase.CANCELLED
    assert gateway.runtime.registry.get("one").in_flight == 0
    assert gateway.runtime.registry.get("one").failures == 0
