"""`/ws`: the state, then what changes; and nothing for nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from nexus_proxy import tasks
from nexus_proxy.api import websockets
from nexus_proxy.web import frames
from nexus_proxy.web.hub import MOST_WAITING, Hub
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults

LOOKING = "dashboards"


@asynccontextmanager
async def looking(gateway: RunningGateway, **more: Any) -> AsyncIterator[ClientConnection]:
    url = f"{gateway.url.replace('http', 'ws', 1)}/ws"
    async with connect(url, max_size=None, proxy=None, **more) as connection:
        yield connection


async def heard(connection: ClientConnection) -> dict[str, Any]:
    async with asyncio.timeout(20):
        told: dict[str, Any] = json.loads(await connection.recv())
    return told


async def all_of(connection: ClientConnection) -> None:
    while True:
        await heard(connection)


def apply(known: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
    """What a reader knows after a message, by the rules of `nexus_proxy.web.frames`."""
    if told["type"] == "snapshot":
        return told
    known = {**known, **{part: told[part] for part in frames.PARTS if part in told}}
    for name in ("backends", "trends", "models", "requests", "quality"):
        change = told.get(name, {"set": {}, "gone": []})
        merged = {**known[name], **change["set"]}
        known[name] = {key: value for key, value in merged.items() if key not in change["gone"]}
    return known


async def test_changes_lead_to_what_a_new_snapshot_says() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
        looking(gateway) as connection,
    ):
        known = await heard(connection)
        assert known["type"] == "snapshot"
        assert list(known["backends"]) == ["one"]
        backend.behave(faults.status(500), times=1)
        for id_ in ("first", "second"):
            await gateway.chat("m", {"x-request-id": id_}, stream=True)
        await gateway.runtime.run_command("backend.pin", {"model": "m", "backend": "one"})
        await gateway.runtime.run_command("backend.remove", {"backend": "one"})
        while known["backends"] or known["totals"]["in_flight"]:
            told = await heard(connection)
            assert told["type"] == "changes"
            known = apply(known, told)
        assert {"first", "second"} <= set(known["requests"])
        async with looking(gateway) as another:
            anew = await heard(another)
        for part in ("backends", "models", "requests", "pins", "problems", "aliases"):
            assert known[part] == anew[part], part


async def test_a_decision_is_left_to_who_asks_for_it() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        await gateway.chat("m", {"x-request-id": "mine"})
        async with looking(gateway) as connection:
            told = await heard(connection)
        why = (await gateway.client.get("/nexus/v1/why/mine")).json()
    assert told["requests"]["mine"]["decision"] is None
    assert why["decision"]["stages"]


async def test_nothing_is_reckoned_while_nobody_looks() -> None:
    async with running_gateway() as gateway:
        assert LOOKING not in tasks.running()
        async with looking(gateway) as connection:
            await heard(connection)
            looking_on = task(LOOKING)
        async with asyncio.timeout(20):
            await looking_on


async def test_one_serialisation_serves_all(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_gateway() as gateway:
        hub = Hub(gateway.runtime)
        with hub.viewer() as one, hub.viewer() as another:
            assert await one.next() is await another.next()
            gateway.runtime.registry.set_airplane(True)
            assert await one.next() is await another.next()


async def test_who_falls_behind_is_told_all_anew_and_is_kept_little() -> None:
    async with running_gateway() as gateway:
        hub = Hub(gateway.runtime)
        with hub.viewer() as viewer:
            await viewer.next()
            for number in range(MOST_WAITING):
                viewer.tell(str(number))
            assert await viewer.next() == "0"
            for number in range(10_000):
                viewer.tell(str(number))
            assert viewer.waiting <= MOST_WAITING + 1
            told = msgspec.json.decode(await viewer.next() or "")
            assert told["type"] == "snapshot"


async def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websockets, "READER_SECONDS", 0.3)
    # More than the kernel takes for a client that reads nothing.
    monkeypatch.setattr(frames, "whole", lambda _shown: "x" * 16_000_000)
    async with running_gateway() as gateway:
        host, port = gateway.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        writer.write(
            b"GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n"
            b"upgrade: websocket\r\nsec-websocket-version: 13\r\n"
            b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        async with asyncio.timeout(20):
            assert (await reader.readline()).startswith(b"HTTP/1.1 101 ")
            await task("hypercorn connection")
        writer.close()


def task(name: str) -> asyncio.Task[Any]:
    """One that runs now."""
    return next(found for found in asyncio.all_tasks() if found.get_name() == name)


async def test_it_closes_when_the_gateway_stops() -> None:
    async with running_gateway() as gateway, looking(gateway) as connection:
        assert not (await heard(connection))["draining"]
        await gateway.runtime.drain(1)
        with pytest.raises(ConnectionClosed) as closed:
            await all_of(connection)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1001


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"host": "evil.example"},
        {"sec-fetch-site": "cross-site"},
    ],
    ids=str,
)
async def test_pages_of_others_hear_nothing(headers: dict[str, str]) -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get(
            "/ws",
            headers={
                "connection": "Upgrade",
                "upgrade": "websocket",
                "sec-websocket-version": "13",
                "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
                **headers,
            },
        )
    assert answer.status_code == 403
    assert answer.json()["error"]["message"]


async def test_a_reverse_proxy_speaks_for_strangers() -> None:
    async with running_gateway() as gateway:
        with pytest.raises(InvalidStatus) as refused:
            async with looking(gateway, additional_headers={"x-forwarded-for": "203.0.113.9"}):
                pass
    assert refused.value.response.status_code == 401
