"""The fast lane: hot requests are answered at transport level, everything else is handed over.

One protocol per client connection. It looks at each request's head; if the request is hot and
leaves nothing to interpret (`request_head`), the lane collects its body and runs the relay with
itself as the responder. Clients send the same head again and again, but for the length of the body,
so what one said is remembered; such a request that comes whole is served without any parsing.
Anything else makes it hand the connection, with every byte not consumed
yet, to Hypercorn, which keeps it from then on.

What the lane guarantees by itself:

- one request at a time per connection: bytes that come meanwhile stay in the buffer, and past
  `MAX_PIPELINED` the socket is not read;
- the client leaving cancels the request, at any moment;
- a client that reads slowly pauses the relay (`write` waits), which pauses the backend;
- a client that sends slowly, or nothing, or reads nothing, is ended by one sweep over all
  connections.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Protocol

import msgspec

from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.relay.call import Envelope
from nexus_proxy.relay.connections.wire import Wait
from nexus_proxy.relay.responder import HeaderList
from nexus_proxy.server.request_head import read_head
from nexus_proxy.tasks import spawn

HOT_PREFIX = b"POST /"
MAX_HEAD = 64 * 1024
MAX_PIPELINED = 64 * 1024
SWEEP_SECONDS = 5.0
IDLE_SECONDS = 75.0
"""Between two requests of a connection."""
HEAD_SECONDS = 20.0
"""From the first byte of a head to its last."""
STALL_SECONDS = 60.0
"""Without a byte of a body that is due."""
READER_SECONDS = 300.0
"""Without room for one more write: the client has stopped reading, and holds a slot for nothing."""

MAX_KNOWN = 512
MAX_KNOWN_HEAD = 8 * 1024
"""How many heads are remembered, and how long they may be: 4 MiB at most."""

_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?(\d{1,12})\r\n")
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class HotApp(Protocol):
    """What the lane serves. `max_body` is in bytes."""

    max_body: int
    """Longest body in bytes that is taken here; longer ones are handed over to be refused."""
    known: dict[bytes, Envelope]
    """What sound heads said, without the digits of their length. The lane adds, the app clears."""

    def endpoint_of(self, target: bytes) -> Endpoint | None:
        """The hot endpoint at a request target, or None."""

    def envelope(
        self, endpoint: Endpoint, headers: dict[bytes, bytes], *, keep_alive: bool
    ) -> Envelope:
        """What a head says, judged."""

    async def serve_hot(
        self, envelope: Envelope, body: bytes, client: str, responder: LaneConnection
    ) -> None:
        """Answer one request. Raises nothing but cancellation."""

    async def refuse_late(self, envelope: Envelope, responder: LaneConnection) -> None:
        """Answer a client that has stopped sending in the middle of its body."""


HandOver = Callable[[asyncio.Transport, bytes], None]


class Lanes:
    """All lane connections of one gateway, and the sweep that closes those that hang."""

    def __init__(self, app: HotApp, hand_over: HandOver) -> None:
        self.app = app
        self.hand_over = hand_over
        self.draining = False
        self.connections: set[LaneConnection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._loop = asyncio.get_running_loop()
        self._date_until = 0.0
        self._date = b""
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def connect(self) -> LaneConnection:
        """A protocol for a new connection."""
        return LaneConnection(self, self._loop)

    def enter(self, connection: LaneConnection) -> None:
        """It is open."""
        self.connections.add(connection)
        self._empty.clear()

    def leave(self, connection: LaneConnection) -> None:
        """It is closed or handed over, and no request of it runs."""
        self.connections.discard(connection)
        if not self.connections:
            self._empty.set()

    def date(self) -> bytes:
        """The `Date` header's value, made once a second."""
        now = self._loop.time()
        if now >= self._date_until:
            self._date_until = now + 1.0
            self._date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime()).encode()
        return self._date

    def drain(self) -> None:
        """Close what is idle now and what answers after its answer."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.close_if_idle()

    async def close(self, seconds: float) -> None:
        """Cut off what runs, and wait at most `seconds` for what was written to leave."""
        self._timer.cancel()
        self.draining = True
        for connection in tuple(self.connections):
            connection.close()
        try:
            async with asyncio.timeout(seconds):
                await self._empty.wait()
        except TimeoutError:
            for connection in tuple(self.connections):
                connection.abort()
            await asyncio.sleep(0)  # for `connection_lost`

    def _sweep(self) -> None:
        now = self._loop.time()
        for connection in tuple(self.connections):
            connection.close_if_late(now)
        self._timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)


def _key(data: bytes, length: re.Match[bytes], end: int) -> bytes:
    """A head without the digits of its length, by which it is known again.

    Only a head that `read_head` took is ever known, so what is equal but for these digits is
    another that it would take.
    """
    return data[: length.start(1)] + data[length.end(1) : end]


class LaneConnection(asyncio.Protocol):
    """One client connection; also the `Responder` of the request that it answers."""

    __slots__ = (
        "_buffer",
        "_client",
        "_drained",
        "_envelope",
        "_lanes",
        "_length",
        "_loop",
        "_needed",
        "_pending",
        "_serving",
        "_since",
        "_transport",
        "finished",
        "started",
    )

    def __init__(self, lanes: Lanes, loop: asyncio.AbstractEventLoop) -> None:
        self._lanes, self._loop = lanes, loop
        self._transport: asyncio.Transport | None = None
        self._client = "?"
        self._buffer = bytearray()
        self._envelope: Envelope | None = None
        self._length = self._needed = 0
        self._serving: asyncio.Task[None] | None = None
        self._since = loop.time()
        self._drained: asyncio.Future[None] | None = None
        self._pending = b""
        self.finished = False
        self.started = False

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = transport  # type: ignore[assignment]
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) else "?"
        self._lanes.enter(self)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        if not self._buffer:
            if self._serving is None and self._serve_known(data):
                return
            self._since = self._loop.time()
        self._buffer += data
        if self._serving is None:
            self._advance()
        self._hold_back()

    def eof_received(self) -> bool:
        """asyncio: the client will send nothing more: it is taken to be gone, as Hypercorn does."""
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self._transport = None
        self.resume_writing()
        if self._serving is None:
            self._lanes.leave(self)
        else:
            self._serving.cancel()

    def pause_writing(self) -> None:
        """asyncio: the client reads slower than we write."""
        self._drained = self._loop.create_future()
        self._since = self._loop.time()

    def resume_writing(self) -> None:
        """asyncio: the client caught up."""
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # -- requests ------------------------------------------------------------------------------

    def _serve_known(self, data: bytes) -> bool:
        """Serve `data` if it is just one whole request with a head that is known."""
        end = data.find(_END) + 4
        length = _LENGTH.search(data, 0, end) if end >= 4 else None
        if length is None:
            return False
        app = self._lanes.app
        envelope = app.known.get(_key(data, length, end))
        size = int(length[1])
        if envelope is None or len(data) != end + size or size > app.max_body:
            return False
        self._envelope = envelope
        self._serve(app.serve_hot(envelope, data[end:], self._client, self))
        return True

    def _serve_next(self) -> None:
        """Go on with what came while a request was answered, most often the whole next one."""
        if self._serve_known(bytes(self._buffer)):
            self._buffer.clear()
            return
        self._advance()
        self._hold_back()

    def _advance(self) -> None:
        """Do what the buffered bytes allow: read a head, wait for a body, serve, or hand over."""
        if self._envelope is None:
            self._read_head()
        envelope = self._envelope
        if envelope is None:
            return
        if len(self._buffer) < self._needed:
            self._since = self._loop.time()
            return
        body = bytes(memoryview(self._buffer)[self._needed - self._length : self._needed])
        del self._buffer[: self._needed]
        self._serve(self._lanes.app.serve_hot(envelope, body, self._client, self))

    def _read_head(self) -> None:
        """Take the head of a request for the lane off the front of the buffer, or hand over what
        is none."""
        buffer, app = self._buffer, self._lanes.app
        end = buffer.find(_END) + 4
        if end < 4:
            is_hot = HOT_PREFIX.startswith(bytes(buffer[: len(HOT_PREFIX)]))
            # To Hypercorn a lone LF ends a line too, so that its head may be whole already.
            has_lone_lf = buffer.count(b"\n") > buffer.count(b"\r\n")
            if len(buffer) > MAX_HEAD or has_lone_lf or not is_hot:
                self._leave_to_hypercorn()
            return
        raw = bytes(buffer[:end])
        head = read_head(raw) if end <= MAX_HEAD else None
        endpoint = None if head is None else app.endpoint_of(head.target)
        if head is None or endpoint is None or head.length > app.max_body:
            self._leave_to_hypercorn()
            return
        envelope = app.envelope(endpoint, head.headers, keep_alive=head.keep_alive)
        length = _LENGTH.search(raw)
        if length is not None and envelope.is_sound and end <= MAX_KNOWN_HEAD:
            if len(app.known) >= MAX_KNOWN:
                app.known.clear()
            app.known[_key(raw, length, end)] = envelope
        self._envelope, self._length, self._needed = envelope, head.length, end + head.length

    def _leave_to_hypercorn(self) -> None:
        transport, self._transport = self._transport_now(), None
        self._lanes.leave(self)
        self._lanes.hand_over(transport, bytes(self._buffer))

    def _hold_back(self) -> None:
        """Read no further while a request runs and enough of the next ones is here."""
        if self._serving is not None and len(self._buffer) > MAX_PIPELINED:
            self._transport_now().pause_reading()

    def _serve(self, answering: Coroutine[Any, Any, None]) -> None:
        self._serving = spawn(answering, name="request", on_end=self._answered)

    def _stays_open(self) -> bool:
        envelope = self._envelope
        return envelope is not None and envelope.keep_alive and not self._lanes.draining

    def _answered(self) -> None:
        """Get ready for the next request of this connection, or close it."""
        stays_open = self.finished and self._stays_open()
        self._envelope = self._serving = None
        self.started = self.finished = False
        self._since = self._loop.time()
        transport = self._transport
        if transport is None:
            self._lanes.leave(self)
        elif transport.is_closing() or not stays_open:
            # An answer that was not finished must not look as if it were.
            transport.close()
        else:
            transport.resume_reading()
            if self._buffer:
                self._serve_next()

    # -- Responder -----------------------------------------------------------------------------

    async def start(self, status: int, headers: HeaderList) -> None:
        """See `Responder`. The head leaves together with the first piece of the body."""
        self.started = True
        self._pending = self._head_bytes(status, headers, (b"transfer-encoding", b"chunked"))

    def write(self, data: bytes) -> Wait | None:
        """See `Responder`."""
        transport = self._transport
        if transport is None:
            raise ConnectionResetError("the client left")
        if not data:  # an empty chunk would end the body
            return None
        head, self._pending = self._pending, b""
        transport.write(b"%b%x\r\n%b\r\n" % (head, len(data), data))
        return None if self._drained is None else self._room

    async def finish(self) -> None:
        """See `Responder`."""
        if self._transport is not None:
            head, self._pending = self._pending, b""
            self._transport.write(head + b"0\r\n\r\n")
            self.finished = True
            await self._room()

    async def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """See `Responder`."""
        self.started = True
        length = (b"content-length", b"%d" % len(body))
        if self._transport is not None:
            self._transport.write(self._head_bytes(status, headers, length) + body)
            self.finished = True
            await self._room()

    async def _room(self) -> None:
        """Wait until the client has taken most of what was written."""
        if self._drained is not None:
            await self._drained

    def _head_bytes(self, status: int, headers: HeaderList, framing: tuple[bytes, bytes]) -> bytes:
        lines = [b"%b: %b" % header for header in headers]
        if not self._stays_open():
            lines.append(b"connection: close")
        return b"HTTP/1.1 %d %b\r\n%b\r\n%b: %b\r\ndate: %b\r\n\r\n" % (
            status,
            _REASONS.get(status, b""),
            b"\r\n".join(lines),
            *framing,
            self._lanes.date(),
        )

    # -- closing -------------------------------------------------------------------------------

    def close_if_idle(self) -> None:
        """Close unless a request is being received or answered."""
        if self._serving is None and not self._buffer:
            self.close()

    def close_if_late(self, now: float) -> None:
        """End a client that took too long to send what is due, or to read what was sent."""
        waited = now - self._since
        if self._serving is not None:
            if self._drained is not None and waited > READER_SECONDS:
                self.abort()
        elif self._envelope is not None:
            if waited > STALL_SECONDS:
                self._envelope = msgspec.structs.replace(self._envelope, keep_alive=False)
                self._serve(self._lanes.app.refuse_late(self._envelope, self))
        elif waited > (HEAD_SECONDS if self._buffer else IDLE_SECONDS):
            self.abort()

    def close(self) -> None:
        """Cut off the request that runs, and close once all that was written has left."""
        if self._serving is not None:
            self._serving.cancel()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _transport_now(self) -> asyncio.Transport:
        assert self._transport is not None, "the lane acts only while connected"
        return self._transport
