"""Clients that send slowly, or nothing, or do not read: each is ended in its time, none before."""

from __future__ import annotations

import asyncio

import pytest

from nexus_proxy.server import handover, lane
from tests.contract.lane.client import Client, chat_body, connected, get, post
from tests.contract.lane.looking import (
    buffered,
    eventually,
    lane_connections,
    stuck,
    the_lane_connection,
)
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend


async def late_after(gateway: RunningGateway, seconds: float) -> None:
    """Let the sweep think that the client has been silent for just so long."""
    connection = await the_lane_connection(gateway)
    connection.close_if_late(connection._since + seconds)


async def is_ended_after(client: Client, gateway: RunningGateway, seconds: float) -> bytes:
    """Assert that the client is ended `seconds` after its last sign of life; what it is told."""
    await late_after(gateway, seconds - 0.01)
    assert len(lane_connections(gateway)) == 1
    await late_after(gateway, seconds + 0.01)
    told = await client.rest()
    await eventually(lambda: not lane_connections(gateway))
    return told


async def test_a_connection_that_never_says_anything(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        assert await is_ended_after(client, gateway, lane.IDLE_SECONDS) == b""


async def test_a_connection_that_says_nothing_more(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        await client.ask(post())
        assert await is_ended_after(client, gateway, lane.IDLE_SECONDS) == b""


async def test_a_head_that_does_not_end_although_bytes_keep_coming(
    gateway: RunningGateway,
) -> None:
    async with connected(gateway) as client:
        await client.send(post()[:20])
        connection = await the_lane_connection(gateway)
        await buffered(connection, 20)
        began = connection._since
        await client.send(post()[20:40])
        await buffered(connection, 40)
        assert connection._since == began
        assert await is_ended_after(client, gateway, lane.HEAD_SECONDS) == b""


async def test_a_body_that_stops_coming(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    async with connected(gateway) as client:
        await client.send(post()[:-10])
        connection = await the_lane_connection(gateway)
        await eventually(lambda: connection._envelope is not None)
        told = await is_ended_after(client, gateway, lane.STALL_SECONDS)
    assert told.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in told
    assert not backend.generations


async def test_a_body_may_come_slowly(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    whole = post()
    async with connected(gateway) as client:
        connection = await the_lane_connection(gateway)
        await client.send(whole[:-20])
        for number in range(20, 10, -1):
            await buffered(connection, len(whole) - number)
            connection._since -= lane.STALL_SECONDS - 1  # so long ago it was
            connection.close_if_late(asyncio.get_running_loop().time())
            await client.send(whole[-number : -number + 1])
        assert (await client.ask(whole[-10:])).status == 200


async def test_a_client_that_waits_for_its_answer_is_never_late(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    async with connected(gateway) as client:
        await client.send(post())
        await backend.until(lambda: bool(backend.generations))
        await late_after(gateway, 10_000)
        backend.release()
        assert (await client.answer()).status == 200


async def test_a_client_that_has_stopped_reading(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(text=("x" * 65_536,) * 1_000))
    async with connected(gateway, limit=1024) as client:
        await client.send(post(chat_body(stream=True)))
        await stuck(backend)
        await late_after(gateway, lane.READER_SECONDS - 0.01)
        assert not backend.generations[0].client_left.is_set()
        await late_after(gateway, lane.READER_SECONDS + 0.01)
        await backend.generations[0].closed()
        await eventually(lambda: not lane_connections(gateway))


async def test_a_client_that_does_not_even_read_the_last_answer(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """All is written and the connection is closing, but what is left never leaves."""
    backend.behave(Answer(text=("x" * 65_536,) * 1_000))
    async with connected(gateway, limit=1024) as client:
        await client.send(post(chat_body(stream=True)))
        await stuck(backend)
        client.writer.write_eof()
        await backend.generations[0].closed()
        await eventually(lambda: gateway.runtime.history.in_flight == 0)
        connection = await the_lane_connection(gateway)
        connection.close_if_late(connection._since + lane.IDLE_SECONDS + 0.01)
        await eventually(lambda: not lane_connections(gateway))


async def test_the_sweep_looks_at_all_connections(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(lane, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(lane, "HEAD_SECONDS", 0.05)
    async with (
        running_gateway([backend_entry("one", backend.url)]) as gateway,
        connected(gateway) as silent,
        connected(gateway) as slow,
    ):
        await slow.send(b"POST /")
        assert await silent.rest() == b""
        assert await slow.rest() == b""
        assert not lane_connections(gateway)


@pytest.mark.parametrize("sent", [b"G", get()[:-2]], ids=["first byte", "head"])
async def test_hypercorn_ends_its_slow_clients_too(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(handover, "KEEP_ALIVE_SECONDS", 0.05)
    async with (
        running_gateway([backend_entry("one", backend.url)]) as gateway,
        connected(gateway) as client,
    ):
        await client.send(sent)
        assert await client.rest() == b""
