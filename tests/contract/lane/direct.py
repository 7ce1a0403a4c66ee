"""The same gateway with Hypercorn alone in front: the lane's judge in the differential tests."""

from __future__ import annotations

import asyncio
from typing import cast

from nexus_proxy.server.gateway import Gateway
from nexus_proxy.server.handover import HypercornSide
from nexus_proxy.tasks import spawn


class HypercornAlone(Gateway):
    """Hands every connection over before a byte of it is read."""

    async def start(self) -> None:
        """Serve."""
        self._others = spawn(self._load_others(), name="load Hypercorn")
        side = await self._others
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Adopting(side), sock=self._sock)
        await self.runtime.start()
        await self._app.load_early()


class _Adopting(asyncio.Protocol):
    def __init__(self, side: HypercornSide) -> None:
        self._side = side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio's.
        self._side.adopt(cast("asyncio.Transport", transport), b"")
