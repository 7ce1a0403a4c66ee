"""One HTTP/1.1 connection to a backend: an asyncio protocol around httptools (llhttp).

Why not httpx here: its pool costs 2 to 5 ms a request, and it hides what the relay must know
(whether a byte came back, whether the connection was reused). Bytes of the body are handed on as
they arrive, only de-chunked.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import httptools

HIGH_WATER = 256 * 1024
MAX_HEADER_BYTES = 64 * 1024
JOINED_BYTES = 64 * 1024


class Head(NamedTuple):
    """Status and headers (names in lower case) of an answer."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]

    def get(self, name: bytes) -> bytes | None:
        """First value of a header."""
        return next((value for key, value in self.headers if key == name), None)


class WireClosed(Exception):
    """The connection ended before the answer was whole."""


class WireGarbled(Exception):
    """What came is not HTTP."""


class Wire(asyncio.Protocol):
    """Carries one exchange at a time. Reading is pulled: `wait` returns when there is news.

    Attributes:
        head: of the current answer, once it is there.
        complete: the answer is whole.
        got_bytes: at least one byte of the current answer has come.
        used: exchanges that were started on this connection.
        idle_since: loop time at which it went back to the pool.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self.used = 0
        self.idle_since = 0.0
        self.closed = False
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.head: Head | None = None
        self.complete = False
        self.got_bytes = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._failure: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._framed = False
        self._keeps_alive = False
        self._active = False

    # -- for the exchange ----------------------------------------------------------------------

    def send(self, parts: Sequence[bytes]) -> None:
        """Start an exchange by writing the request."""
        assert self._transport is not None
        self._reset()
        self._active = True
        self.used += 1
        # One write for what is small: a second one is a second system call.
        if sum(map(len, parts)) <= JOINED_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    async def wait(self) -> None:
        """Return when something has come, the answer ended, or somebody called `wake`.

        Raises what `fail` was given, `WireClosed` or `WireGarbled`; body bytes that came before
        are handed out first.
        """
        if self._chunks or self.complete:
            return
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._failure is not None and not self._chunks:
            raise self._failure

    def take(self) -> bytes:
        """All body bytes that have come since the last call; may be empty."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks.popleft() if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return data

    def wake(self) -> None:
        """Let `wait` return although nothing came."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def fail(self, error: BaseException) -> None:
        """Make `wait` raise `error`, and close."""
        if self._failure is None and not self.complete:
            self._failure = error
        self.abort()
        self.wake()

    def abort(self) -> None:
        """Close at once; the backend sees the client leave."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow on this connection."""
        return self.complete and not self.closed and self._framed and self._keeps_alive

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "writelines")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        if not self._active or self.complete:
            # Nothing was asked: an answer now would be taken for the next request's.
            self.abort()
            return
        self.got_bytes = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.fail(WireGarbled(str(error)))
            return
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self.closed = True
        if self._active and not self.complete:
            if self.head is not None and not self._framed and exc is None:
                self.complete = True
            elif self._failure is None:
                self._failure = WireClosed(str(exc) if exc else "closed by the backend")
        self.wake()

    # -- httptools -----------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > MAX_HEADER_BYTES:
            raise WireGarbled("its headers are larger than 64 KiB")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """httptools: all headers are there."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = []
            return
        self._framed = status in (204, 304) or any(
            name in (b"content-length", b"transfer-encoding") for name, _ in self._headers
        )
        self.head = Head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        """httptools: de-chunked body bytes."""
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        if self.head is not None:
            self.complete = True
            self._keeps_alive = self._parser.should_keep_alive()
