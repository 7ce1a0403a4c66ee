"""A client that sends exactly the bytes it is told to, and reads answers without a library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

from tests.support.gateway import RunningGateway

CHAT = "/v1/chat/completions"
PATIENCE = 10.0
SMALL_BUFFER = 1024


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
    def text(self) -> str:
        """What the model said, in an answer that is no stream."""
        said: str = json.loads(self.body)["choices"][0]["message"]["content"]
        return said


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
    """One connection to the gateway. Use `connected`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @property
    def name(self) -> tuple[str, int]:
        """Our address: it tells connections apart."""
        address: tuple[str, int] = self.writer.get_extra_info("sockname")
        return address

    async def send(self, *pieces: bytes) -> None:
        """Write, and wait until the socket has taken it."""
        self.writer.writelines(pieces)
        await self.writer.drain()

    async def answer(self, *, bodyless: bool = False) -> Answer:
        """Read one response. `bodyless`: it answers a HEAD request.

        Raises `asyncio.IncompleteReadError` when the connection ends inside it.
        """
        async with asyncio.timeout(PATIENCE):
            status, headers = await self.head()
            if bodyless or status < 200 or status in (204, 304):
                return Answer(status, headers, b"")
            return Answer(status, headers, await self._body(dict(headers)))

    async def head(self) -> tuple[int, tuple[tuple[str, str], ...]]:
        """Read a status line and headers."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        status_line, *lines = raw[:-4].decode("latin-1").split("\r\n")
        protocol, code, _ = status_line.split(" ", 2)
        assert protocol == "HTTP/1.1"
        split = (line.partition(":") for line in lines)
        return int(code), tuple((name.lower(), value.strip()) for name, _, value in split)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self.chunks()])
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The chunks of a body, up to its end."""
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
        """What comes until the gateway closes, which it must do. A reset counts as closing."""
        got = b""
        async with asyncio.timeout(PATIENCE):
            try:
                while data := await self.reader.read(65_536):
                    got += data
            except ConnectionResetError:
                pass
        return got

    async def leave(self) -> None:
        """Hang up."""
        self.writer.close()
        await asyncio.wait([asyncio.get_running_loop().create_task(self.writer.wait_closed())])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self.writer.transport.abort()


async def connect(gateway: RunningGateway, *, limit: int = 2**16) -> Client:
    """A new connection. `limit`: bytes that are read ahead at most (twice)."""
    host, port = gateway.url.removeprefix("http://").split(":")
    return Client(*await asyncio.open_connection(host, int(port), limit=limit))


@asynccontextmanager
async def connected(gateway: RunningGateway, count: int) -> AsyncIterator[list[Client]]:
    """Several connections, closed at the end."""
    clients: list[Client] = []
    try:
        while len(clients) < count:
            clients += await asyncio.gather(
                *(connect(gateway) for _ in range(min(50, count - len(clients))))
            )
        yield clients
    finally:
        for client in clients:
            client.writer.transport.abort()


async def all_of(waiting: Iterable[Any]) -> list[Any]:
    """`asyncio.gather` with a deadline."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*waiting)
