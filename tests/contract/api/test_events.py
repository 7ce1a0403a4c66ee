"""The event stream, as `nexus attach` and `nexus requests --follow` read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from nexus_proxy.api.events import PING, Listener, stream
from nexus_proxy.events import BackendChanged, Bus, DiscoveryNoted, Subscriber
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


@asynccontextmanager
async def listening(gateway: RunningGateway) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The events after the greeting."""
    async with gateway.client.stream("GET", "/nexus/v1/events") as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = decoded(answer.aiter_lines())
        assert await anext(events) == {"type": "hello"}
        yield events


async def decoded(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        if line.startswith("data: "):
            yield msgspec.json.decode(line.removeprefix("data: "))


async def test_events_come_in_order_with_their_fields() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
        listening(gateway) as events,
    ):
        gateway.runtime.bus.publish(DiscoveryNoted(note="first"))
        gateway.runtime.bus.publish(BackendChanged(name="one", what="second"))
        assert await anext(events) == {"type": "DiscoveryNoted", "note": "first"}
        assert await anext(events) == {"type": "BackendChanged", "name": "one", "what": "second"}
        await gateway.chat("m", {"x-request-id": "mine"})
        seen = [event async for event in until_finished(events)]
    assert next(event["type"] for event in seen if event.get("id") == "mine") == "RequestStarted"
    assert seen[-1] == {"type": "RequestFinished", "id": "mine", "backend": "one"}


async def until_finished(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async for event in events:
        yield event
        if event["type"] == "RequestFinished":
            return


async def test_the_stream_ends_when_the_gateway_drains() -> None:
    async with running_gateway() as gateway, listening(gateway) as events:
        await gateway.runtime.drain(1)
        rest = [event async for event in events]
    assert rest[-1] == {"type": "GatewayDraining"}


async def test_a_listener_that_comes_while_it_drains_is_told_and_let_go() -> None:
    async with running_gateway() as gateway:
        await gateway.runtime.drain(1)
        async with listening(gateway) as events:
            rest = [event async for event in events]
    assert rest == [{"type": "GatewayDraining"}]


async def test_a_listener_that_leaves_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_gateway() as gateway:
        gone = asyncio.Event()
        subscribe = gateway.runtime.bus.subscribe

        def watched(subscriber: Subscriber) -> Callable[[], None]:
            unsubscribe = subscribe(subscriber)

            def leaving() -> None:
                unsubscribe()
                gone.set()

            return leaving

        monkeypatch.setattr(gateway.runtime.bus, "subscribe", watched)
        async with listening(gateway):
            assert not gone.is_set()
        await asyncio.wait_for(gone.wait(), 5)


async def test_silence_is_filled_with_comments() -> None:
    async with running_gateway() as gateway:
        frames = stream(gateway.runtime, ping_seconds=0.01)
        assert await anext(frames) == b'data: {"type":"hello"}\n\n'
        assert await anext(frames) == PING
        assert await anext(frames) == PING
        await frames.aclose()


async def test_a_listener_that_does_not_keep_up_is_told_that_it_lost_events() -> None:
    bus = Bus()
    with Listener(bus, size=3) as listener:
        for number in range(5):
            bus.publish(DiscoveryNoted(note=str(number)))
        assert await listener.next() is None
        assert await listener.next() == DiscoveryNoted(note="3")
        assert await listener.next() == DiscoveryNoted(note="4")
