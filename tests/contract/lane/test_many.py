"""Many connections: a thousand streams at once, and hundreds that come and go."""

from __future__ import annotations

import contextlib
import socket

from nexus_proxy import tasks
from tests.contract.lane.client import Client, all_of, chat_body, get, many_connected, post
from tests.contract.lane.looking import eventually, lane_connections
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, ScriptedBackend

STREAMS = 1_000
VISITORS = 300
CROWD = 400
FIRST_RETRY_SECONDS = 1.0
"""After which a client's kernel tries again to connect, where the queue was full."""


async def test_a_thousand_streams_are_open_at_once_and_all_end(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before=2))
    async with many_connected(gateway, STREAMS) as clients:
        for client in clients:
            client.writer.write(post(chat_body(stream=True)))
        await backend.until(lambda: backend.in_flight == STREAMS, within=20)
        await all_of(client.until(b"Hello") for client in clients)
        assert len(lane_connections(gateway)) == STREAMS
        backend.release()
        await all_of(client.until(b"data: [DONE]\n\n\r\n0\r\n\r\n") for client in clients)
    assert gateway.runtime.history.in_flight == 0
    await eventually(lambda: not lane_connections(gateway))


async def test_those_who_come_and_go_leave_nothing_behind(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    async def visit(client: Client, number: int) -> None:
        client.writer.write((b"", b"POST", post()[:-3], post(), get(), b"GET", post() * 2)[number])
        if number in (3, 4):
            assert (await client.answer()).status == 200
        (client.leave if number % 2 else client.reset)()

    async with many_connected(gateway, 1) as (client,):
        await client.ask(get())
    await eventually(lambda: not _others(gateway))
    before = tasks.running()
    for _ in range(3):
        async with many_connected(gateway, VISITORS // 3) as clients:
            await all_of(visit(client, number % 7) for number, client in enumerate(clients))
    await eventually(lambda: not lane_connections(gateway))
    await eventually(lambda: _without_probes(tasks.running()) == _without_probes(before))


def _others(gateway: RunningGateway) -> int:
    task = gateway.gateway._others
    assert task is not None
    return len(task.result()._connections)


def _without_probes(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(("check", "scripted"))]


async def test_a_crowd_that_comes_at_once_is_queued(gateway: RunningGateway) -> None:
    """The loop stands still while they connect, as it may for a moment under load."""
    host, port = gateway.url.removeprefix("http://").split(":")
    with contextlib.ExitStack() as stack:
        for _ in range(CROWD):
            stack.enter_context(
                socket.create_connection((host, int(port)), timeout=FIRST_RETRY_SECONDS / 2)
            )
        await eventually(lambda: len(lane_connections(gateway)) == CROWD)
