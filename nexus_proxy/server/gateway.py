"""A runtime and the server in front of it, started and stopped together on the running loop."""

from __future__ import annotations

import asyncio
import importlib
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

from nexus_proxy.runtime import Runtime
from nexus_proxy.server.accept import Acceptor
from nexus_proxy.server.board import Board
from nexus_proxy.server.descriptors import raise_limit
from nexus_proxy.server.lane import HotApp, Lanes
from nexus_proxy.server.listen import BACKLOG
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    from nexus_proxy.server.handover import HypercornSide

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""How long running requests may take to finish when the gateway is told to stop."""
CLOSE_SECONDS = 2.0
"""How long open connections may take after that. Bounded by us: Hypercorn waits without limit on
Python 3.12 and later (hypercorn#308)."""


class HttpSide(Protocol):
    """What the gateway serves: hot requests by the lane, and an ASGI application for the rest."""

    @property
    def hot(self) -> HotApp:
        """What the lane serves."""

    async def load_early(self) -> None:
        """Import what the first odd request will need, once the gateway serves."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """ASGI entry."""


class Gateway:
    """Serves `app` on `sock` beside `runtime`."""

    def __init__(self, runtime: Runtime, app: HttpSide, sock: socket.socket) -> None:
        self.runtime = runtime
        self._app = app
        self._sock = sock
        self._server: asyncio.Server | Acceptor | None = None
        self._lanes: Lanes | None = None
        self._others: asyncio.Task[HypercornSide] | None = None
        self._waiting = 0
        """Connections that wait for Hypercorn to be imported."""

    async def start(self) -> None:
        """Serve. Connections are accepted from now on (the kernel queued them before)."""
        self._lanes = Lanes(self._app.hot, self._hand_over)
        raise_limit()
        if self.runtime.seat.others:
            # The others serve meanwhile, and what they know is known here by then.
            await self.runtime.start()
            self._server = await self._accept(self._lanes)
        else:
            self._server = await self._accept(self._lanes)
            await self.runtime.start()
        spawn(self._app.load_early(), name="load management routes early")

    async def drain(
        self, *, seconds: float = GRACE_SECONDS, hurry: asyncio.Event | None = None
    ) -> None:
        """Take no new requests; wait for the running ones, or until `hurry` is set (a second
        Ctrl-C)."""
        if self._lanes is not None:
            self._lanes.drain()
        waiting: list[asyncio.Task[Any]] = [spawn(self.runtime.drain(seconds), name="drain")]
        if hurry is not None:
            waiting.append(spawn(hurry.wait(), name="hurry"))
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if left := self.runtime.history.in_flight:
            log.warning("%d requests are cut off", left)

    async def stop(self) -> None:
        """Close everything, whatever still runs."""
        if self._server is not None:
            self._server.close()
        if self._lanes is not None:
            await self._lanes.close(CLOSE_SECONDS)
        if self._others is not None:
            others = await self._others
            await others.stop(CLOSE_SECONDS)
        self._sock.close()
        await self.runtime.stop()

    async def _accept(self, lanes: Lanes) -> asyncio.Server | Acceptor:
        seat = self.runtime.seat
        if seat.others:
            board = Board(seat.board, seat.count)
            return Acceptor(self._sock, lanes.connect, self._open_now, board, seat.number)
        # Without a backlog asyncio shortens the queue of a socket that listens already.
        loop = asyncio.get_running_loop()
        return await loop.create_server(lanes.connect, sock=self._sock, backlog=BACKLOG)

    def _open_now(self) -> int:
        """Connections that are open, whoever serves them."""
        lanes = len(self._lanes.connections) if self._lanes is not None else 0
        if self._others is None or not self._others.done():
            return lanes + self._waiting
        return lanes + self._others.result().open_now

    def _hand_over(self, transport: asyncio.Transport, received: bytes) -> None:
        """Let Hypercorn have a connection; the first one has to wait for it to be imported."""
        if self._others is None:
            self._others = spawn(self._load_others(), name="load Hypercorn")
        if self._others.done():
            self._others.result().adopt(transport, received)
            return
        transport.pause_reading()
        self._waiting += 1
        self._others.add_done_callback(_adopter(transport, received))

    async def _load_others(self) -> HypercornSide:
        module = await asyncio.to_thread(importlib.import_module, "nexus_proxy.server.handover")
        side: HypercornSide = module.HypercornSide(self._app)
        return side


def _adopter(
    transport: asyncio.Transport, received: bytes
) -> Callable[[asyncio.Task[HypercornSide]], None]:
    def adopt(loaded: asyncio.Task[HypercornSide]) -> None:
        if loaded.cancelled() or loaded.exception() is not None or transport.is_closing():
            transport.abort()
            return
        transport.resume_reading()  # before: to adopt may be to pause it again
        loaded.result().adopt(transport, received)

    return adopt
