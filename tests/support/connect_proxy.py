"""A real HTTP proxy that knows one method, CONNECT, and writes down what it is asked."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from nexus_proxy.tasks import spawn


class ConnectProxy:
    """Tunnels to loopback, whatever the name that is asked for: it resolves, not the client.

    Attributes:
        asked: targets of CONNECT, in order.
        authorizations: the Basic credentials of each, or None.
        answer: raw bytes to refuse with, instead of tunnelling; empty: hang up without a word.
        silent: take the connection and say nothing.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[str] = []
        self.authorizations: list[str | None] = []
        self.answer: bytes | None = None
        self.silent = False
        self.port = 0
        self._context = context
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> ConnectProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split(" ", 2)
            assert method == "CONNECT"
            self.asked.append(target)
            _, found, rest = head.partition("proxy-authorization: Basic ")
            self.authorizations.append(rest.split("\r\n")[0] if found else None)
            if self.silent:
                await reader.read()
            elif self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
            else:
                await self._tunnel(int(target.rpartition(":")[2]), reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass  # the client left: the proxy goes on with others
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _tunnel(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 test\r\n\r\n")
        ways: list[asyncio.Task[Any]] = [
            spawn(_pump(reader, back), name="proxy, there"),
            spawn(_pump(there, writer), name="proxy, back"),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        return
