"""Connections that are handed over while Hypercorn is still being imported."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest

from nexus_proxy.server import gateway as server_gateway
from nexus_proxy.tasks import spawn
from tests.contract.lane.client import Client, chat_body, connected, get, many_connected, post
from tests.contract.lane.looking import eventually, lane_connections
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

PATIENCE = 10.0


@pytest.fixture
def imported(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Hypercorn's import ends when this is set."""
    go = threading.Event()

    def slow_import(name: str) -> ModuleType:
        assert go.wait(PATIENCE)
        return importlib.import_module(name)

    monkeypatch.setattr(server_gateway, "importlib", SimpleNamespace(import_module=slow_import))
    yield go
    go.set()


async def handed_over(gateway: RunningGateway, *clients: Client) -> None:
    """Wait until the lane has read what these have sent, and wants to be rid of them."""
    await eventually(lambda: gateway.gateway._others is not None)
    await eventually(lambda: not lane_connections(gateway))


async def test_several_at_once_are_served_when_it_is_there(
    gateway: RunningGateway, backend: ScriptedBackend, imported: threading.Event
) -> None:
    large = chat_body("x" * 1_000_000)
    requests = [get(), get("/v1/models"), post(version="HTTP/1.0"), post(large, "expect: x"), b"G"]
    async with many_connected(gateway, len(requests) + 1) as (*clients, hot):
        sending = [
            spawn(client.send(request), name="test send")
            for client, request in zip(clients, requests, strict=True)
        ]
        await eventually(lambda: len(lane_connections(gateway)) == 1)
        assert (await hot.ask(post())).status == 200
        await clients[0].send(get())
        await clients[-1].send(get()[1:])
        imported.set()
        answers = [await client.answer() for client in clients]
        answers.append(await clients[0].answer())
        await asyncio.gather(*sending)
    assert [answer.status for answer in answers] == [200] * (len(requests) + 1)
    assert large in [request.body for request in backend.generations]


@pytest.mark.parametrize(
    "leave",
    [Client.leave, Client.reset, lambda client: client.writer.write_eof()],
    ids=["closing", "resetting", "half-closing"],
)
async def test_a_client_that_leaves_meanwhile_leaves_nothing_behind(
    gateway: RunningGateway, imported: threading.Event, leave: Callable[[Client], None]
) -> None:
    async with connected(gateway) as client, connected(gateway) as stays:
        await client.send(get())
        await stays.send(get())
        await handed_over(gateway)
        leave(client)
        imported.set()
        assert (await stays.answer()).status == 200
        side = await gateway.gateway._others if gateway.gateway._others else None
        assert side is not None
        await eventually(lambda: len(side._connections) == 1)


async def test_stopping_meanwhile_closes_them(
    gateway: RunningGateway, imported: threading.Event
) -> None:
    async with many_connected(gateway, 3) as clients:
        for client in clients:
            await client.send(get()[:-1])
        await handed_over(gateway)
        stopping = spawn(gateway.gateway.stop(), name="test stop")
        imported.set()
        await stopping
        assert [await client.rest() for client in clients] == [b""] * 3
