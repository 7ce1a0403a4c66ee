"""A runtime and the server in front of it, started and stopped together on the running loop."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from nexus_proxy.runtime import Runtime
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""How long running requests may take to finish when the gateway is told to stop."""
CLOSE_SECONDS = 2.0
"""How long open connections may take after that. Bounded by us: Hypercorn waits without limit on
Python 3.12 and later (hypercorn#308)."""
HEADER_SECONDS = 60.0


class Gateway:
    """Serves `app` on `sock` beside `runtime`.

    `crashed` is set if the server task ends by itself; a dead server is silent otherwise.
    """

    def __init__(self, runtime: Runtime, app: Any, sock: socket.socket) -> None:
        self.runtime = runtime
        self.crashed = asyncio.Event()
        self._app = app
        self._sock = sock
        self._stop = asyncio.Event()
        self._server: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve. Returns when connections are accepted (the kernel queues them before)."""
        self._server = spawn(self._serve(), name="http server", on_crash=self._died)
        await self.runtime.start()

    async def drain(
        self, *, seconds: float = GRACE_SECONDS, hurry: asyncio.Event | None = None
    ) -> None:
        """Take no new requests; wait for the running ones, or until `hurry` is set (a second
        Ctrl-C)."""
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
        self._stop.set()
        if self._server is not None:
            await asyncio.wait({self._server}, timeout=CLOSE_SECONDS)
            self._server.cancel()
        self._sock.close()
        await self.runtime.stop()

    async def _serve(self) -> None:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        # Hypercorn closes the descriptor it is given: it gets one of its own.
        config.bind = [f"fd://{self._sock.dup().detach()}"]
        config.accesslog = None
        config.errorlog = logging.getLogger("hypercorn.error")
        config.include_server_header = False
        config.graceful_timeout = CLOSE_SECONDS / 2
        config.keep_alive_timeout = HEADER_SECONDS
        config.h11_max_incomplete_size = 64 * 1024
        await serve(self._app, config, shutdown_trigger=self._stop.wait)

    def _died(self, crash: BaseException) -> None:
        log.error("the HTTP server stopped: %r", crash)
        self.crashed.set()
