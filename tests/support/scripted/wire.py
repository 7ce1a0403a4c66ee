"""HTTP/1.1 by hand: one connection, the requests that come over it, and raw ways to answer them.

Nothing here is polite: an `Exchange` writes exactly the bytes that it is told to write.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http.client import responses
from typing import Any, cast

import httptools

from nexus_proxy.tasks import spawn


@dataclass(eq=False)
class Recorded:
    """One request as it arrived. Header names are lower case; `at` is the loop's clock."""

    connection: int
    """Ordinal of the TCP connection, from 1: equal numbers mean that it was reused."""
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes
    at: float
    sent: int = 0
    """Bytes of answer handed to the socket so far."""
    answered: bool = False
    """The behaviour ran to its end (which may be a broken end)."""
    client_left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closed its side before the answer was over."""
    left_at: float | None = None

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)

    @property
    def streams(self) -> bool:
        """Whether it asks for server-sent events."""
        return bool(self.body) and self.json.get("stream") is True

    def header(self, name: str) -> str | None:
        """The value of the first header called `name`, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    async def closed(self, within: float = 15.0) -> float:
        """Wait until the client has left early; seconds from the request's arrival to then.

        Raises `TimeoutError` when it has not left `within` seconds from now.
        """
        async with asyncio.timeout(within):
            await self.client_left.wait()
        assert self.left_at is not None
        return self.left_at - self.at


class Exchange:
    """One request being answered. Cancelled when the client leaves."""

    def __init__(self, connection: Connection, request: Recorded, *, name: str) -> None:
        self.request = request
        self.name = name
        """The backend's own name, for marking answers."""
        self._connection = connection

    def head(self, status: int, headers: Mapping[str, str]) -> bytes:
        """A status line and headers, with those that the whole backend sends."""
        lines = [f"HTTP/1.1 {status} {responses.get(status, 'Odd')}"]
        merged = {**self._connection.headers, "x-served-by": self.name, **headers}
        lines += [f"{name}: {value}" for name, value in merged.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def write(self, data: bytes) -> None:
        """Send bytes as they are, waiting while the client does not read."""
        await self._connection.write(data)
        self.request.sent += len(data)

    async def chunk(self, data: bytes) -> None:
        """Send one HTTP chunk."""
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def respond(
        self, status: int, body: bytes, content_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole, correct response."""
        framing = {"content-type": content_type, "content-length": str(len(body))}
        await self.write(self.head(status, {**framing, **(headers or {})}) + body)

    async def json(self, status: int, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole, correct JSON response."""
        await self.respond(status, encode(value), "application/json", headers)

    async def held(self) -> None:
        """Wait for `ScriptedBackend.release()`."""
        await self._connection.gate.wait()

    async def silence(self) -> None:
        """Send nothing more until the client leaves."""
        await asyncio.Event().wait()

    def close(self) -> None:
        """End the connection with a FIN, after what was written."""
        self._connection.close()

    def reset(self) -> None:
        """End the connection with a RST."""
        self._connection.reset()


Behaviour = Callable[[Exchange], Awaitable[None]]
"""How a request is answered. Any async function of an `Exchange` will do."""


class Connection(asyncio.Protocol):
    """A client's connection: parses requests and has them answered one after the other.

    Args:
        serve: answers one exchange; also keeps the books.
        gate: what held exchanges wait for.
        headers: sent with every response.
        on_change: called whenever a test that waits might want to look again.
        on_crash: told of a behaviour that raised.
    """

    def __init__(
        self,
        *,
        number: int,
        serve: Callable[[Connection, Recorded], Awaitable[None]],
        gate: asyncio.Event,
        headers: Mapping[str, str],
        on_change: Callable[[Connection], None],
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self.gate = gate
        self.headers = headers
        self.lost = False
        self._number = number
        self._serve = serve
        self._on_change = on_change
        self._on_crash = on_crash
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiting: deque[tuple[Recorded, bool]] = deque()
        self._current: Recorded | None = None
        self._closed_by_us = False

    async def write(self, data: bytes) -> None:
        self._transport.write(data)
        await self._writable.wait()
        if self._transport.is_closing():
            await asyncio.sleep(0)  # hear now of a connection that broke in this very write

    def close(self) -> None:
        self._closed_by_us = True
        self._transport.close()

    def abort(self) -> None:
        self._closed_by_us = True
        self._transport.abort()

    def reset(self) -> None:
        on, seconds = 1, 0
        linger = struct.pack("ii", on, seconds)
        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, linger
        )
        self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._on_change(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._on_crash(error)
            self.abort()

    def eof_received(self) -> None:
        self._client_left()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._writable.set()
        self._client_left()
        self._on_change(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path, _, query = self._url.decode().partition("?")
        request = Recorded(
            connection=self._number,
            method=self._parser.get_method().decode(),
            path=path,
            query=query,
            headers=self._headers,
            body=b"".join(self._body),
            at=asyncio.get_running_loop().time(),
        )
        self._waiting.append((request, self._parser.should_keep_alive()))
        if self._current is None:
            self._next()

    def _next(self) -> None:
        if self._waiting and not self._transport.is_closing():
            self._current, keep_alive = self._waiting.popleft()
            answering = self._answer(self._current, keep_alive=keep_alive)
            self._task = spawn(answering, name="scripted answer", on_crash=self._on_crash)

    async def _answer(self, request: Recorded, *, keep_alive: bool) -> None:
        try:
            await self._serve(self, request)
            request.answered = True
        except Exception:
            self.abort()
            raise
        finally:
            self._current = None
            self._on_change(self)
        if keep_alive:
            self._next()
        else:
            self.close()

    def _client_left(self) -> None:
        request = self._current
        if request is None or request.client_left.is_set():
            return
        if not self._closed_by_us:
            request.left_at = asyncio.get_running_loop().time()
            request.client_left.set()
        self._task.cancel()

    async def finished(self) -> None:
        """Abort, and wait until nothing is being answered any more."""
        self.abort()
        if self._current is not None:
            self._task.cancel()
            await asyncio.wait([self._task])


def encode(value: Any) -> bytes:
    """Compact JSON in raw UTF-8, so that characters such as U+2028 reach the client unescaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
