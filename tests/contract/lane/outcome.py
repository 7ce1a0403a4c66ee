"""What a stream of raw bytes led to: the answers, how the connection ended, what a backend saw."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httptools

from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

TICK = 0.001
QUIET_TICKS = 15
"""Client, gateways and backend share one loop: after so many turns of it without a byte and
without a request in flight, nothing more will come."""
VARYING = frozenset(("date", "x-request-id", "server-timing", "x-nexus-node", "transfer-encoding"))
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
    closed: bool
    """The gateway closed the connection; else it waits for more."""
    reached: tuple[tuple[str, str, bytes], ...]
    """Method, path and body of each request that the backend got."""

    @property
    def asked(self) -> list[bytes]:
        """What each request asks that the backend got."""
        return [question(body) for _, _, body in self.reached]


class Recorder(asyncio.Protocol):
    """A connection that keeps all that comes."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, _exc: Exception | None) -> None:
        self.ended = True


async def outcome_of(
    pieces: Sequence[bytes], gateway: RunningGateway, backend: ScriptedBackend
) -> Outcome:
    """Send the pieces one by one over a new connection, and see."""
    backend.requests.clear()
    host, port = gateway.url.removeprefix("http://").split(":")
    loop = asyncio.get_running_loop()
    transport, recorder = await loop.create_connection(Recorder, host, int(port))
    for piece in pieces:
        if not transport.is_closing():
            transport.write(piece)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    await _settled(gateway, recorder)
    closed = recorder.ended
    transport.abort()
    reached = tuple((r.method, r.path, r.body) for r in backend.generations)
    return Outcome(tuple(answers_in(recorder.data)), closed, reached)


async def _settled(gateway: RunningGateway, recorder: Recorder) -> None:
    quiet, seen = 0, 0
    while not recorder.ended and quiet < QUIET_TICKS:
        await asyncio.sleep(TICK)
        moved = len(recorder.data) != seen or gateway.runtime.history.in_flight > 0
        quiet, seen = (0 if moved else quiet + 1), len(recorder.data)


class _Collector:
    def __init__(self) -> None:
        self.got: list[Got] = []
        self.names: list[str] = []
        self.body = b""
        self.inside = False
        self.parser: Any = None

    def on_message_begin(self) -> None:
        self.names, self.body, self.inside = [], b"", True

    def on_header(self, name: bytes, value: bytes) -> None:
        line = f"{name.decode('latin-1').lower()}: {value.decode('latin-1')}"
        self.names.append(line)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def connection_ended(self) -> None:
        framed = ("content-length:", "transfer-encoding:")
        if self.inside and not any(name.startswith(framed) for name in self.names):
            self.on_message_complete()  # an answer to HTTP/1.0 ends with its connection

    def on_message_complete(self) -> None:
        self.inside = False
        kept = (line for line in self.names if line.partition(":")[0] not in VARYING)
        body = _REQUEST_ID.sub(b"req-", self.body)
        self.got.append(Got(self.parser.get_status_code(), tuple(sorted(kept)), body))


def answers_in(data: bytes) -> list[Got]:
    """The responses in `data`, which must hold whole ones and nothing else."""
    collector = _Collector()
    collector.parser = httptools.HttpResponseParser(collector)
    try:
        collector.parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        return collector.got  # what follows is HTTP/2
    collector.connection_ended()
    assert data.count(b"HTTP/1.1 ") == len(collector.got), data
    return collector.got


def question(body: bytes) -> bytes:
    """What a body asks, as it stands there; it need not be valid JSON."""
    found = _QUESTION.search(body)
    return found[1] if found else b""


def is_subsequence(part: Sequence[bytes], whole: Sequence[bytes]) -> bool:
    """Whether `part` can be had from `whole` by leaving items out."""
    rest = itertools.chain(whole)
    return all(item in rest for item in part)
