"""The gateway stopping: who waits is closed, who is served is served, nothing is left."""

from __future__ import annotations

import asyncio

import pytest

from nexus_proxy import tasks
from nexus_proxy.server import gateway as server_gateway
from nexus_proxy.tasks import spawn
from tests.contract.lane.client import chat_body, connected, get, many_connected, post
from tests.contract.lane.looking import eventually, lane_connections, stuck, the_lane_connection
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, ScriptedBackend, faults

LARGE = 8_000_000
"""More than the sockets between two programs hold."""


async def test_draining_closes_those_who_wait_and_serves_those_who_asked(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    async with (
        connected(gateway) as fresh,
        connected(gateway) as asking,
        connected(gateway) as streaming,
        connected(gateway) as sending,
    ):
        await asking.send(post())
        await streaming.send(post(chat_body(stream=True)))
        await sending.send(post()[:-5])
        await backend.until(lambda: len(backend.generations) == 2)
        draining = spawn(gateway.gateway.drain(), name="test drain")
        assert await fresh.rest() == b""
        refused = await sending.ask(post()[-5:])
        assert (refused.status, refused.error["code"]) == (503, "gateway_stopping")
        backend.release()
        for client in (asking, streaming):
            answer = await client.answer()
            assert (answer.status, answer.header("connection")) == (200, "close")
            assert await client.rest() == b""
        await draining
        await eventually(lambda: not lane_connections(gateway))


async def test_new_connections_are_told_that_it_drains(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    await gateway.gateway.drain()
    async with connected(gateway) as client:
        refused = await client.ask(post())
        assert (refused.status, refused.error["code"]) == (503, "gateway_stopping")
        assert await client.rest() == b""
    assert not backend.generations


async def test_stopping_lets_the_end_of_an_answer_leave(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """A request is over for the gateway while its last bytes are still in its hands."""
    backend.behave(Answer(text=("x" * 60_000,)))
    async with connected(gateway, limit=1024) as client:
        connection = await the_lane_connection(gateway)
        assert connection._transport is not None
        asked = 0
        while connection._transport.get_write_buffer_size() == 0:
            await client.send(post())
            asked += 1
            await served(gateway, backend, asked)
        await gateway.gateway.drain()
        stopping = asyncio.gather(gateway.gateway.stop())
        answers = [await client.answer() for _ in range(asked)]
        await stopping
    assert all(answer.status == 200 for answer in answers)


@pytest.mark.parametrize("stream", [False, True])
async def test_stopping_cuts_off_what_runs_and_it_does_not_look_whole(
    gateway: RunningGateway, backend: ScriptedBackend, stream: bool
) -> None:
    backend.behave(Answer(hold_before=3) if stream else faults.hang)
    async with connected(gateway) as client:
        await client.send(post(chat_body(stream=stream)))
        await backend.until(lambda: bool(backend.generations))
        if stream:
            await client.until(b"from")
        await gateway.gateway.stop()
        assert b"0\r\n\r\n" not in await client.rest()
        await backend.generations[0].closed()


async def test_stopping_waits_for_nobody_for_long(
    gateway: RunningGateway, backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients in every state, most of whom do not read: all are gone when it has stopped."""
    monkeypatch.setattr(server_gateway, "CLOSE_SECONDS", 0.2)
    backend.behave(Answer(text=("x" * LARGE,) * 5))
    requests = [
        b"",
        post()[:10],
        post()[:-1],
        post(),
        post(chat_body(stream=True)),
        post(version="HTTP/1.0"),
        get("/nexus/v1/events"),
        get() * 3,
        get()[:10],
    ]
    async with many_connected(gateway, len(requests)) as clients:
        for client, request in zip(clients, requests, strict=True):
            await client.send(request)
        await stuck(backend)
        await gateway.gateway.stop()
        assert not lane_connections(gateway)
        await eventually(lambda: not _ours())
        for client in clients:
            await client.rest()


async def served(gateway: RunningGateway, backend: ScriptedBackend, count: int) -> None:
    """Wait until so many requests have come and none is left to answer."""
    await backend.until(lambda: len(backend.generations) == count)
    await eventually(lambda: gateway.runtime.history.in_flight == 0)


def _ours() -> list[str]:
    return [name for name in tasks.running() if name != "scripted answer"]
