"""The requests that run and the last ones that ended. Never a prompt, an answer or a key (but for
`Said`, until its line in the log is written).

What a request that ended means for others (log, rates, events) is worked off for many at once, some
milliseconds later: off the way of the answer, and in a quarter of the time, since the code and data
for it are at hand then.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from nexus_proxy.errors import NotFoundError, RequestCancelledError
from nexus_proxy.events import Bus, RequestFinished, RequestProgressed, RequestStarted
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.state import (
    OVER,
    AttemptView,
    RequestPhase,
    RequestView,
    Totals,
    Trend,
    Truncation,
)
from nexus_proxy.telemetry.rate import Rate
from nexus_proxy.telemetry.recent import Recent
from nexus_proxy.telemetry.tracing import Trace

KEPT = 1000
"""Finished requests kept in memory."""
SETTLE_SECONDS = 0.05
"""How long what has ended may wait before its readers hear of it."""

CLIENT_LEFT = "client_left"
"""The kind of error of a client that left."""
ENDED_FROM_OUTSIDE = (CLIENT_LEFT, RequestCancelledError.code)
"""Kinds of errors of tries that nobody failed."""
PULSE_SECONDS = 1.0
"""How often what running requests have written is counted while nothing else happens."""
Reader = Callable[[Sequence["Record"]], None]

log = logging.getLogger(__name__)


class Counting(Protocol):
    """Counts the pieces of an answer while they come, a token each as a rule."""

    token_events: int


class Attempt(Struct):
    """One try at one backend, while it runs and after. Durations in milliseconds; `started` in
    seconds since the epoch, `clock` from `time.perf_counter`. `code` is the kind of `error`."""

    backend: str
    model: str
    started: float
    clock: float
    connect_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None
    error: str | None = None
    code: str | None = None
    span_id: int | None = None

    def elapsed_ms(self) -> float:
        """Milliseconds since it started."""
        return (time.perf_counter() - self.clock) * 1000.0


class Said(Struct, frozen=True):
    """Prompt and answer, where content logging is on; both bounded."""

    prompt: str
    answer: str


class Record(Struct):
    """One request. Written by the relay only. Clocks as in `Attempt`."""

    id: str
    endpoint: str
    client: str
    started: float
    clock: float
    model_asked: str = "?"
    stream: bool = False
    model: str | None = None
    backend: str | None = None
    phase: RequestPhase = RequestPhase.ROUTING
    status: int | None = None
    error: str | None = None
    code: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str = "unknown"
    first_token_ms: float | None = None
    total_ms: float | None = None
    route_ms: float | None = None
    queued_ms: float | None = None
    finish_reason: str | None = None
    decision: Decision | None = None
    route_reason: str | None = None
    key: str | None = None
    priced: bool = False
    cost_usd: float | None = None
    cost_source: str = "n/a"
    attempts: list[Attempt] = []
    notes: Sequence[str] = ()
    """What of the request the backend's dialect could not carry."""
    truncated: Truncation | None = None
    """The backend cut the prompt."""
    trace: Trace | None = None
    said: Said | None = None
    """For the log, which takes it off again."""
    counting: Counting | None = None
    """While its answer is streamed."""
    counted: int = 0
    """How many of its tokens are in the rates already."""
    frozen: RequestView | None = None
    """The view of a finished record, made when somebody looks."""
    glance: RequestView | None = None
    """The same without its decision."""

    def elapsed_ms(self) -> float:
        """Milliseconds since the request came in."""
        return (time.perf_counter() - self.clock) * 1000.0

    def newly_written(self) -> int:
        """Tokens of the running answer that were not asked for yet."""
        if self.counting is None:
            return 0
        more = max(0, self.counting.token_events - self.counted)
        self.counted += more
        return more

    def forget_repeats(self) -> None:
        """Of attempts in a row at one backend with one outcome only the last is worth a line."""
        last = self.attempts[-1]
        while len(self.attempts) > 1:
            before = self.attempts[-2]
            if (before.backend, before.error) != (last.backend, last.error):
                break
            del self.attempts[-2]

    def view(self, *, whole: bool = True) -> RequestView:
        """The record as a frozen value; not `whole`: without its decision, which costs most."""
        known = (self.frozen or self.glance) if not whole else self.frozen
        if known is not None:
            return known
        written, source = self.completion_tokens, self.usage_source
        if written is None and self.counting is not None and self.counting.token_events:
            written, source = self.counting.token_events, "estimated"
        view = RequestView(
            id=self.id,
            started=self.started,
            endpoint=self.endpoint,
            client=self.client,
            model_asked=self.model_asked,
            model=self.model,
            backend=self.backend,
            stream=self.stream,
            phase=self.phase,
            status=self.status,
            error=self.error,
            code=self.code,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=written,
            cached_tokens=self.cached_tokens,
            reasoning_tokens=self.reasoning_tokens,
            usage_source=source,
            first_token_ms=self.first_token_ms,
            total_ms=self.total_ms,
            route_ms=self.route_ms,
            queued_ms=self.queued_ms,
            finish_reason=self.finish_reason,
            cost_usd=self.cost_usd,
            cost_source=self.cost_source,
            key=self.key,
            decision=self.decision.view(self.route_reason) if whole and self.decision else None,
            attempts=tuple(
                AttemptView(
                    backend=a.backend,
                    model=a.model,
                    started=a.started,
                    connect_ms=a.connect_ms,
                    first_token_ms=a.first_token_ms,
                    total_ms=a.total_ms,
                    error=a.error,
                    code=a.code,
                )
                for a in self.attempts
            ),
            notes=tuple(self.notes),
            truncated=self.truncated,
        )
        if self.phase in OVER and self.total_ms is not None:
            if whole:
                self.frozen = view
            else:
                self.glance = view
        return view


_DONE = RequestPhase.DONE


class History:
    """Owner of the records; publishes what happens to them. Call `settle` at the end of the run.

    `readers` are given the records that ended, in order, each once. `revision` grows with
    whatever happens to a request, for those who look now and then.
    """

    def __init__(self, bus: Bus, *, kept: int = KEPT) -> None:
        self._bus = bus
        self._running: dict[str, Record] = {}
        self._finished: deque[Record] = deque(maxlen=kept)
        self._arrivals, self._tokens, self._recent = Rate(), Rate(), Recent()
        self._arrived = self._peak = 0
        self._ended: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None
        self._pulse: asyncio.TimerHandle | None = None
        self.readers: list[Reader] = []
        self.requests = self.failures = self.cancelled = self.revision = 0

    def open(self, record: Record) -> None:
        """A request came in. An id that is in use is made unique."""
        if record.id in self._running:
            record.id = f"{record.id}-{self.requests}"
        self._running[record.id] = record
        self.requests += 1
        self.revision += 1
        self._arrived += 1
        if len(self._running) > self._peak:
            self._peak = len(self._running)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self.settle)
        if self._bus.follows_requests:
            self._bus.publish(RequestStarted(id=record.id))

    def progressed(self, record: Record) -> None:
        """Something worth showing happened to a request."""
        self.revision += 1
        if self._bus.follows_requests:
            self._bus.publish(RequestProgressed(id=record.id))

    def close(self, record: Record) -> None:
        """A request ended."""
        record.total_ms = (time.perf_counter() - record.clock) * 1000.0
        record.counting = None
        self._running.pop(record.id, None)
        self._finished.appendleft(record)
        if record.phase is not _DONE:
            self.cancelled += record.phase is RequestPhase.CANCELLED
            self.failures += record.phase is RequestPhase.FAILED
        self.revision += 1
        self._ended.append(record)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self.settle)

    def settle(self) -> None:
        """Tell all who want to know what came and what ended since the last time."""
        if self._timer is not None:
            self._timer.cancel()
        ended, self._ended, self._timer = self._ended, [], None
        self._count(ended)
        for reader in self.readers:
            try:
                reader(ended)
            except Exception:
                log.exception("a reader of finished requests failed")
        for record in ended:
            self._bus.publish(RequestFinished(id=record.id, backend=record.backend))

    def running(self, request_id: str) -> RequestView | None:
        """One request that runs, without its decision."""
        record = self._running.get(request_id)
        return None if record is None else record.view(whole=False)

    def _count(self, ended: Sequence[Record]) -> None:
        """Add to the rates what came, what ended and what was written since the last time."""
        tokens = sum(record.newly_written() for record in self._running.values())
        failures, first_tokens = 0, []
        for record in ended:
            tokens += max(0, (record.completion_tokens or 0) - record.counted)
            failures += record.phase is RequestPhase.FAILED
            if record.first_token_ms is not None:
                first_tokens.append(record.first_token_ms)
        self._arrivals.add(self._arrived)
        self._tokens.add(tokens)
        self._recent.note(
            requests=self._arrived,
            failures=failures,
            tokens=tokens,
            first_tokens_ms=first_tokens,
            in_flight=len(self._running),
            peak=self._peak,
        )
        self._arrived, self._peak = 0, len(self._running)
        if self._running and self._pulse is None:
            self._pulse = asyncio.get_running_loop().call_later(PULSE_SECONDS, self._beat)

    def _beat(self) -> None:
        self._pulse = None
        if self._running:
            self._count(())

    def record(self, request_id: str) -> Record:
        """One request by id, running or finished. Raises `NotFoundError`."""
        if record := self._running.get(request_id):
            return record
        for record in self._finished:
            if record.id == request_id:
                return record
        raise NotFoundError(
            f"no request {request_id!r} among the last {self._finished.maxlen}; "
            "`nexus requests` lists them"
        )

    def get(self, request_id: str) -> RequestView:
        """One request by id, as a frozen value. Raises `NotFoundError`."""
        return self.record(request_id).view()

    def newest(self, limit: int) -> tuple[RequestView, ...]:
        """All running requests and the newest finished ones, newest first."""
        running = sorted(self._running.values(), key=lambda r: -r.started)
        finished = itertools.islice(self._finished, limit)
        return tuple(record.view() for record in itertools.chain(running, finished))

    def shown(self, limit: int, whole: int) -> tuple[RequestView, ...]:
        """As `newest`, but only the running ones and the newest `whole` of the others with their
        decisions: a screen that looks four times a second under load must not pay for all."""
        running = sorted(self._running.values(), key=lambda r: -r.started)
        views = [record.view() for record in running]
        for number, record in enumerate(itertools.islice(self._finished, limit)):
            views.append(record.view(whole=number < whole))
        return tuple(views)

    @property
    def in_flight(self) -> int:
        """Requests that run now."""
        return len(self._running)

    def trend(self) -> Trend:
        """The traffic of the last minutes."""
        return self._recent.trend()

    def totals(self) -> Totals:
        """Counters and rates."""
        return Totals(
            requests=self.requests,
            failures=self.failures,
            cancelled=self.cancelled,
            in_flight=self.in_flight,
            requests_per_second=self._arrivals.per_second(),
            tokens_per_second=self._tokens.per_second(),
        )
