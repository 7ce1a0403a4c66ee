"""One HTTP/1.1 connection to a backend: an asyncio protocol around httptools (llhttp).

Why not httpx here: its pool costs 2 to 5 ms a request, and it hides what the relay must know
(whether a byte came back, whether the connection was reused). Bytes of the body are handed on as
they arrive, only de-chunked. A stream is pushed on within the callback that read it: to wake a task
for each chunk costs more than all that the task would do with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import httptools

HIGH_WATER = 256 * 1024
MAX_HEADER_BYTES = 64 * 1024
JOINED_BYTES = 64 * 1024
_FRAMING = (b"content-length", b"transfer-encoding")


class Head(NamedTuple):
    """Status and headers (names in lower case) of an answer."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def get(self, name: bytes) -> bytes | None:
        """First value of a header."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class WireClosed(Exception):
    """The connection ended before the answer was whole."""


class WireGarbled(Exception):
    """What came is not HTTP."""


Wait = Callable[[], Awaitable[None]]
Sink = Callable[[bytes], Wait | None]
"""Takes body bytes. Returns what to call and await before it can take more, if anything."""


class Wire(asyncio.Protocol):
    """Carries one exchange at a time. Reading is pulled (`wait`, `take`) or pushed (`flow`).

    Attributes:
        head: of the current answer, once it is there.
        complete: the answer is whole.
        got_bytes: at least one byte of the current answer has come.
        used: exchanges that were started on this connection.
        idle_since: loop time at which it went back to the pool.
    """

    __slots__ = (
        "_active",
        "_blocked",
        "_buffered",
        "_chunks",
        "_failure",
        "_framed",
        "_header_bytes",
        "_headers",
        "_keeps_alive",
        "_loop",
        "_parser",
        "_paused",
        "_sink",
        "_transport",
        "_waiter",
        "closed",
        "complete",
        "got_bytes",
        "head",
        "idle_since",
        "used",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        # One for all answers of a connection, as llhttp is made for.
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self.used = 0
        self.idle_since = 0.0
        self.closed = self._paused = False
        self._chunks: list[bytes] = []
        self._reset()

    def _reset(self) -> None:
        self.head: Head | None = None
        self.complete = self.got_bytes = False
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = self._buffered = 0
        self._chunks.clear()
        self._failure: BaseException | None = None
        self._sink: Sink | None = None
        self._blocked: Wait | None = None
        self._framed = self._keeps_alive = self._active = False

    # -- for the exchange ----------------------------------------------------------------------

    def send(self, parts: Sequence[bytes]) -> None:
        """Start an exchange by writing the request."""
        assert self._transport is not None
        self._reset()
        self._active = True
        self.used += 1
        # One write for what is small: a second one is a second system call.
        if len(parts[-1]) <= JOINED_BYTES:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    async def wait(self) -> None:
        """Return when something has come, the answer ended, or somebody called `wake`.

        Raises what `fail` was given, `WireClosed` or `WireGarbled`; body bytes that came before
        are handed out first.
        """
        if not self._chunks and not self.complete:
            await self._news()
            if self._failure is not None and not self._chunks:
                raise self._failure

    async def flow(self, sink: Sink) -> Wait | None:
        """Give body bytes to `sink` as they come, until it must be waited for (returned), the
        answer ends, or somebody calls `wake`.

        Raises as `wait` does, and what `sink` raised; the connection is closed then.
        """
        if self._chunks and (blocked := sink(self.take())) is not None:
            return blocked
        if self.complete:
            return None
        self._sink = sink
        try:
            await self._news()
        finally:
            self._sink = None
        blocked, self._blocked = self._blocked, None
        if blocked is None and self._failure is not None and not self._chunks:
            raise self._failure
        return blocked

    async def _news(self) -> None:
        if self._failure is not None:
            return
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def take(self) -> bytes:
        """All body bytes that have come since the last call; may be empty."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
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
    def ended(self) -> bool:
        """Whether the answer is whole and all of its body was taken."""
        return self.complete and not self._chunks

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
        sink = self._sink
        if sink is not None and self._blocked is None and self._chunks:
            try:
                self._blocked = sink(self.take())
            except Exception as error:  # noqa: BLE001 - raised by `flow`
                self._failure = error
                self.abort()
            else:
                if self._blocked is None and not self.complete:
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
        name = name.lower()
        self._headers.append((name, value))
        if name in _FRAMING:
            self._framed = True

    def on_headers_complete(self) -> None:
        """httptools: all headers are there."""
        if self.complete:
            self.closed = True  # a second answer, which nobody asked for
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._headers, self._framed = [], False
            return
        self._framed = self._framed or status in (204, 304)
        self.head = Head(status, self._headers)

    def on_body(self, body: bytes) -> None:
        """httptools: de-chunked body bytes."""
        if not self.complete:
            self._chunks.append(body)
            self._buffered += len(body)

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        if self.head is not None and not self.complete:
            self.complete = True
            self._keeps_alive = self._parser.should_keep_alive()
