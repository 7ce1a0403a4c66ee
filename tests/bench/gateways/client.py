"""One keep-alive connection of the load: sends a request, checks the answer, notes when it came."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import httptools

from tests.bench.gateways import payloads
from tests.bench.gateways.jobs import Job, Result

CLOSED_EARLY = "closed before an answer"
_EVENT_END = b"\n\n"


class Connection(asyncio.Protocol):
    """Attributes:
    result: where times go.
    closed: no more requests can go here.
    used: requests that were sent here.
    """

    def __init__(self, job: Job, result: Result, on_first: Callable[[], None]) -> None:
        self.result = result
        self.closed = False
        self.used = 0
        self._job = job
        self._on_first = on_first
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answered: asyncio.Future[str | None] | None = None
        self._reset()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._began = time.monotonic_ns()
        self._got_bytes = False
        self._body_bytes = 0
        self._chunks = 0
        self._tail = b""
        self._done = False

    async def ask(self, request: bytes) -> str | None:
        """Send a request and wait for the whole answer. Returns what is wrong with it.

        Cancelling closes the connection.
        """
        assert self._transport is not None
        self._reset()
        self.used += 1
        self._answered = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._answered
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Close at once."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        self._got_bytes = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(f"not HTTP: {error}")

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self.closed = True
        self._end("closed in the answer" if self._got_bytes else CLOSED_EARLY)

    # -- httptools -----------------------------------------------------------------------------

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body."""
        self._body_bytes += len(body)
        if self._job.chunks:
            self._take_events(body)

    def on_message_complete(self) -> None:
        """httptools: the answer is whole."""
        self.closed = self.closed or not self._parser.should_keep_alive()
        self._end(self._what_is_wrong())

    def _take_events(self, body: bytes) -> None:
        whole, _, self._tail = (self._tail + body).rpartition(_EVENT_END)
        now = time.monotonic_ns()
        sent = payloads.SENT_AT.findall(whole)
        if sent and not self._chunks:
            self.result.first.append((now - self._began) / 1000)
            self._on_first()
        self._chunks += len(sent)
        self.result.lags += [(now - int(at)) / 1000 for at in sent]
        self._done = self._done or payloads.DONE in whole

    def _what_is_wrong(self) -> str | None:
        status = self._parser.get_status_code()
        if status != 200:
            return f"status {status}"
        if self._job.chunks:
            if self._chunks != self._job.chunks:
                return f"{self._chunks} of {self._job.chunks} chunks"
            return None if self._done else "a stream without its end"
        # A gateway that rewrites the answer may change its length, but not lose the text.
        right = self._body_bytes == payloads.ANSWER_BYTES
        if right or (not self._job.exact and self._body_bytes > payloads.ANSWER_BYTES / 2):
            return None
        return f"{self._body_bytes} bytes where {payloads.ANSWER_BYTES} were sent"

    def _end(self, error: str | None) -> None:
        if self._answered is None or self._answered.done():
            return
        if error is None:
            self.result.latencies.append((time.monotonic_ns() - self._began) / 1000)
        else:
            self.abort()
        self._answered.set_result(error)
