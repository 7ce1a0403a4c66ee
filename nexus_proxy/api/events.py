"""`GET /nexus/v1/events`: what happens in the gateway, as server-sent events.

`data: {"type": "hello"}` comes first, then one JSON object per event: `type` is the name of the
event's class in `nexus_proxy.events`, beside its fields. A listener that does not keep up loses
events and is told so by `{"type": "lagged"}`: it should read the state again. The stream ends when
the gateway drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from quart import Quart, Response, request

from nexus_proxy.events import Bus, Event, GatewayDraining
from nexus_proxy.runtime import Runtime

QUEUE_SIZE = 256
PING_SECONDS = 10.0
PING = b": ping\n\n"


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.get("/nexus/v1/events")
    async def events() -> Response:
        body = b"" if request.method == "HEAD" else stream(runtime)
        response = Response(body, content_type="text/event-stream; charset=utf-8")
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
    with Listener(runtime.bus) as listener:
        yield _framed({"type": "hello"})
        if runtime.draining:
            yield _framed(_named(GatewayDraining()))
            return
        while True:
            try:
                async with asyncio.timeout(ping_seconds):
                    event = await listener.next()
            except TimeoutError:
                yield PING
                continue
            yield _framed({"type": "lagged"} if event is None else _named(event))
            if isinstance(event, GatewayDraining):
                return


class Listener:
    """A bounded queue behind the bus. When it runs over it is emptied and marked, since what it
    held is of no more use to a reader that has to start anew."""

    def __init__(self, bus: Bus, *, size: int = QUEUE_SIZE) -> None:
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(size)
        self._bus = bus

    def __enter__(self) -> Listener:
        self._unsubscribe = self._bus.subscribe(self._heard)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._unsubscribe()

    async def next(self) -> Event | None:
        """The next event; None: some were lost."""
        return await self._queue.get()

    def _heard(self, event: Event) -> None:
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            self._queue.put_nowait(None)
        self._queue.put_nowait(event)


def _named(event: Event) -> dict[str, Any]:
    return {"type": type(event).__name__, **msgspec.to_builtins(event)}


def _framed(value: dict[str, Any]) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"
