"""A client that sends exactly the bytes it is told to, and reads answers without a library."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.gateway import RunningGateway

CHAT = "/v1/chat/completions"
PATIENCE = 10.0
CONNECTS_AT_ONCE = 50


@dataclass(frozen=True)
class Answer:
    """One response. Header names are lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of the first header called `name`, or None."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def error(self) -> dict[str, Any]:
        """The error that the body tells."""
        told: dict[str, Any] = json.loads(self.body)["error"]
        return told


def chat_body(text: str = "hi", *, stream: bool = False, **more: Any) -> bytes:
    """A chat request with one user message."""
    messages = [{"role": "user", "content": text}]
    return json.dumps({"model": "m", "messages": messages, "stream": stream, **more}).encode()


def post(
    body: bytes | None = None, *headers: str, path: str = CHAT, version: str = "HTTP/1.1"
) -> bytes:
    """A hot request as nearly all clients send it. `headers` are further lines."""
    body = chat_body() if body is None else body
    more = "".join(f"{line}\r\n" for line in headers)
    return (
        f"POST {path} {version}\r\nhost: localhost\r\ncontent-type: application/json\r\n{more}"
        f"content-length: {len(body)}\r\n\r\n"
    ).encode() + body


def get(path: str = "/health/live", *headers: str, method: str = "GET") -> bytes:
    """A request that the lane does not take."""
    more = "".join(f"{line}\r\n" for line in headers)
    return f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n".encode()


class Client:
    """One connection to a gateway. Use `connected`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, *pieces: bytes) -> None:
        """Write, and wait while the gateway does not read."""
        self.writer.writelines(pieces)
        await self.writer.drain()

    async def ask(self, *pieces: bytes) -> Answer:
        """Send, and read one response."""
        await self.send(*pieces)
        return await self.answer()

    async def answer(self, *, to_head: bool = False) -> Answer:
        """Read one response. `to_head`: it answers a HEAD request.

        Raises `asyncio.IncompleteReadError` when the connection ends inside it.
        """
        async with asyncio.timeout(PATIENCE):
            status, headers = await self.head()
            has_body = not to_head and status >= 200 and status not in (204, 304)
            return Answer(status, headers, await self._body(dict(headers)) if has_body else b"")

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Read a status line and headers."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = raw[:-4].decode("latin-1").split("\r\n")
        protocol, status, _ = status_line.split(" ", 2)
        assert protocol == "HTTP/1.1"
        split = (line.partition(":") for line in lines)
        return int(status), tuple((name.lower(), value.strip()) for name, _, value in split)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self._chunks()])
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            chunk = await self.reader.readexactly(size + 2)
            assert chunk.endswith(b"\r\n")
            yield chunk[:-2]
        assert await self.reader.readexactly(2) == b"\r\n"

    async def until(self, text: bytes) -> None:
        """Read until `text` has come."""
        async with asyncio.timeout(PATIENCE):
            await self.reader.readuntil(text)

    async def rest(self) -> bytes:
        """What comes until the gateway closes, which it must do. A reset is a kind of closing."""
        got = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                while data := await self.reader.read(65_536):
                    got += data
        return got

    def leave(self) -> None:
        """Hang up."""
        self.writer.close()

    def reset(self) -> None:
        """Hang up rudely."""
        self.writer.transport.abort()


@asynccontextmanager
async def connected(gateway: RunningGateway, *, limit: int = 2**16) -> AsyncIterator[Client]:
    """A connection. `limit`: about half of the bytes that are read ahead."""
    host, port = gateway.url.removeprefix("http://").split(":")
    client = Client(*await asyncio.open_connection(host, int(port), limit=limit))
    try:
        yield client
    finally:
        client.writer.transport.abort()


@asynccontextmanager
async def many_connected(gateway: RunningGateway, count: int) -> AsyncIterator[list[Client]]:
    """Several connections."""
    async with contextlib.AsyncExitStack() as stack:
        clients: list[Client] = []
        while len(clients) < count:
            some = min(CONNECTS_AT_ONCE, count - len(clients))
            clients += await asyncio.gather(
                *(stack.enter_async_context(connected(gateway)) for _ in range(some))
            )
        yield clients


async def all_of(waiting: Iterable[Awaitable[Any]]) -> None:
    """Wait for all, with a deadline."""
    async with asyncio.timeout(3 * PATIENCE):
        await asyncio.gather(*waiting)
