"""A client on a connection that a `Connector` opened: asks once, and hears the answer."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from nexus_proxy.relay.connections.connect import Connector

SECONDS = 20.0
"""A connect clock that a busy machine does not reach."""


class Asking(asyncio.Protocol):
    """Attributes: `answer`, what came; `lost`, set when the connection is gone."""

    def __init__(self) -> None:
        self.answer = b""
        self.lost = asyncio.Event()
        self._news = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.transport is None
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.answer += data
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()
        self._news.set()

    async def ask(self) -> bytes:
        assert self.transport is not None
        self.transport.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            while not self.answer.endswith(b"ok") and not self.lost.is_set():
                await self._news.wait()
                self._news.clear()
        return self.answer


async def opened(connector: Connector) -> Asking:
    transport, protocol = await connector.connect(Asking, SECONDS)
    assert transport is protocol.transport
    return protocol


async def ask_once(connector: Connector) -> bytes:
    """One request over a connection of its own."""
    asking = await opened(connector)
    answer = await asking.ask()
    await left(asking)
    return answer


async def left(asking: Asking) -> None:
    assert asking.transport is not None
    asking.transport.abort()
    async with asyncio.timeout(SECONDS):
        await asking.lost.wait()


def socket_of(asking: Asking) -> socket.socket:
    assert asking.transport is not None
    return cast(socket.socket, asking.transport.get_extra_info("socket"))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
