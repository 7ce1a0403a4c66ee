"""`GET /nexus/v1/events`: what happens in the gateway, as server-sent events.

`data: {"type": "hello"}` comes first, then one JSON object per event: `type` is the name of the
event's class in `nexus_proxy.events`, beside its fields. A listener that does not keep up loses
events and is told so by `{"type": "lagged"}`: it should read the state again. The stream ends when
the gateway drains. Where several workers serve, the events of all come, each with its `worker`;
what each of them sees for itself, like a backend that is down, comes once from each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from quart import Quart, Response, request

from nexus_proxy.dialects.sse import MEDIA_TYPE
from nexus_proxy.events import Bus, Event, GatewayDraining
from nexus_proxy.runtime import Runtime
from nexus_proxy.siblings.family import told_event

QUEUE_SIZE = 256
PING_SECONDS = 10.0
Told = dict[str, Any]
PING = b": ping\n\n"


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.get("/nexus/v1/events")
    async def events() -> Response:
        body = b"" if request.method == "HEAD" else stream(runtime)
        response = Response(body, content_type=MEDIA_TYPE.decode())
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Accel-Buffering"] = "no"
        response.timeout = None
        return response


async def stream(
    runtime: Runtime, *, ping_seconds: float = PING_SECONDS
) -> AsyncGenerator[bytes, None]:
    """The events from now on, framed. Ends after `GatewayDraining`.

    It listens before it greets, so that whoever reads the state after the greeting misses nothing.
    """
    worker = runtime.seat.tag
    with Listener(runtime.bus) as listener:
        async with runtime.siblings.overhearing(listener.heard):
            yield _framed({"type": "hello"})
            if runtime.draining:
                yield _framed(told_event(GatewayDraining(), worker))
                return
            while True:
                try:
                    async with asyncio.timeout(ping_seconds):
                        event = await listener.next()
                except TimeoutError:
                    yield PING
                    continue
                yield _framed(_told(event, worker))
                if isinstance(event, GatewayDraining):
                    return


class Listener:
    """A bounded queue behind the bus. When it runs over it is emptied and marked, since what it
    held is of no more use to a reader that has to start anew."""

    def __init__(self, bus: Bus, *, size: int = QUEUE_SIZE) -> None:
        self._queue: asyncio.Queue[Event | Told | None] = asyncio.Queue(size)
        self._bus = bus

    def __enter__(self) -> Listener:
        self._unsubscribe = self._bus.subscribe(self.heard)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._unsubscribe()

    async def next(self) -> Event | Told | None:
        """The next event; None: some were lost."""
        return await self._queue.get()

    def heard(self, event: Event | Told | None) -> None:
        """Queue an event of this process or, as it is told, of another; None: some were lost."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)
        self._queue.put_nowait(event)


def _told(event: Event | Told | None, worker: int | None) -> Told:
    if event is None:
        return {"type": "lagged"}
    return told_event(event, worker) if isinstance(event, Event) else event


def _framed(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
