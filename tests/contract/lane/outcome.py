"""What a stream of raw bytes led to: the answers, how the connection ended, what a backend saw."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import httptools

from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

TICK = 0.001
QUIET_TICKS = 30
"""Client, gateways and backend share one loop: after so many turns of it without a byte, without
a request in flight and outside of any answer, nothing more will come."""
VARYING = frozenset(("date", "x-request-id", "server-timing", "x-nexus-node", "transfer-encoding"))
_FRAMING = ("content-length: ", "transfer-encoding: ")
_QUESTION = re.compile(rb'"content": "([^"]*)"')
_REQUEST_ID = re.compile(rb"req-[0-9a-f]{16}")


@dataclass(frozen=True)
class Got:
    """One response, without what differs between any two."""

    status: int
    headers: tuple[str, ...]
    body: bytes


@dataclass(frozen=True)
class Outcome:
    """What came back for some bytes."""

    answers: tuple[Got, ...]
    is_cut: bool
    """The last answer is not whole."""
    closed: bool
    """The gateway closed the connection; else it waits for more."""
    reached: tuple[tuple[str, str, bytes], ...]
    """Method, path and body of each request that the backend got."""

    @property
    def asked(self) -> list[bytes]:
        """What each request asks that the backend got."""
        return [question(body) for _, _, body in self.reached]


class Recorder(asyncio.Protocol):
    """A connection that collects the answers that come."""

    def __init__(self) -> None:
        self.answers: list[Got] = []
        self.ended = False
        self.received = 0
        self.is_inside = False
        """An answer has begun and not ended."""
        self._parser = httptools.HttpResponseParser(self)
        self._is_http2 = False

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._is_http2:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_http2 = True

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.is_inside and not any(line.startswith(_FRAMING) for line in self._lines):
            self.on_message_complete()  # an answer to HTTP/1.0 ends with its connection
        self.ended = True

    # -- httptools -----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._lines: list[str] = []
        self._body = b""
        self.is_inside = True

    def on_header(self, name: bytes, value: bytes) -> None:
        self._lines.append(f"{name.decode('latin-1').lower()}: {value.decode('latin-1')}")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        kept = sorted(line for line in self._lines if line.partition(":")[0] not in VARYING)
        body = _REQUEST_ID.sub(b"req-", self._body)
        self.answers.append(Got(self._parser.get_status_code(), tuple(kept), body))
        self.is_inside = False


async def outcome_of(
    pieces: Sequence[bytes],
    gateway: RunningGateway,
    backend: ScriptedBackend,
    *,
    half_close: bool = False,
) -> Outcome:
    """Send the pieces one by one over a new connection, perhaps close the sending side, and see."""
    backend.requests.clear()
    host, port = gateway.url.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    transport, recorder = await loop.create_connection(Recorder, host, int(port))
    for piece in pieces:
        if not transport.is_closing():
            transport.write(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    if half_close and not transport.is_closing():
        with contextlib.suppress(OSError):  # the gateway has closed just now
            transport.write_eof()
    await _settled(gateway, recorder)
    closed = recorder.ended
    transport.abort()
    reached = tuple((r.method, r.path, r.body) for r in backend.generations)
    return Outcome(tuple(recorder.answers), recorder.is_inside, closed, reached)


async def _settled(gateway: RunningGateway, recorder: Recorder) -> None:
    quiet, seen = 0, 0
    while not recorder.ended and quiet < QUIET_TICKS:
        await asyncio.sleep(TICK)
        is_busy = gateway.runtime.history.in_flight > 0 or recorder.is_inside
        moved = recorder.received != seen
        quiet, seen = (0 if is_busy or moved else quiet + 1), recorder.received


def question(body: bytes) -> bytes:
    """What a body asks, as it stands there; it need not be valid JSON."""
    found = _QUESTION.search(body)
    return found[1] if found else b""


def is_subsequence(part: Sequence[bytes], whole: Sequence[bytes]) -> bool:
    """Whether `part` can be had from `whole` by leaving items out."""
    rest = iter(whole)
    return all(item in rest for item in part)
