"""What all requests came to since the start: the one set of counters behind `/metrics` and
`/v1/stats`, so that both say the same.

Fed from the batch of ended requests, in plain numbers, so that a request pays a few microseconds
off its way and nothing on it; but for what was refused, and stages, of which few are timed. Tallies
of several workers add up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from nexus_proxy.state import RequestPhase
from nexus_proxy.telemetry.history import Attempt, Record

MOST_ROWS = 1000
"""Different labels that are told apart; what comes with new ones then counts under `OTHER`."""
OTHER = "other"
UNKNOWN = "unknown"
"""In place of a model that no backend lists: what clients send is no label."""
ANSWERED = "ok"

# Bounds in seconds: those that OpenTelemetry's conventions for generative AI advise, with more at
# both ends: a prompt may be read for minutes on a laptop, and an answer may come from a cache.
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
DURATION = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12),
    *(10.24, 20.48, 40.96, 81.92, 300.0, 600.0, 1800.0),
)
FIRST_TOKEN = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
TOKEN_GAP = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5)
QUEUE_WAIT = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 300.0)
STAGE = (1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2)
ROUTING = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05)

Pair = tuple[str, str]
Labels = tuple[str, str, str, str, str]
_FAILED = RequestPhase.FAILED
L = TypeVar("L", Pair, Labels)


class Spread(Struct):
    """How values (seconds) are spread over the buckets between some bounds. `counts` has one more
    than there are bounds."""

    counts: list[int]
    total: float = 0.0

    def add(self, value: float, bounds: tuple[float, ...]) -> None:
        """One more value."""
        self.counts[bisect_left(bounds, value)] += 1
        self.total += value

    def mean_ms(self) -> float | None:
        """The mean in milliseconds; None without a value."""
        number = sum(self.counts)
        return self.total / number * 1000.0 if number else None

    def include(self, other: Spread) -> None:
        """All values of another one with the same bounds."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def spread(bounds: tuple[float, ...]) -> Spread:
    """An empty one."""
    return Spread([0] * (len(bounds) + 1))


class Counts(Struct, kw_only=True):
    """What some requests came to. Cached and reasoning tokens are parts of the prompt's and the
    completion's."""

    requests: int = 0
    streams: int = 0
    errors: dict[str, int] = {}
    retries: int = 0
    failovers: int = 0
    fallbacks: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Row(Counts, kw_only=True):
    """What the requests with the same labels came to. `unpriced` requests cost something that
    nobody knows."""

    measured_usd: float = 0.0
    estimated_usd: float = 0.0
    unpriced: int = 0
    duration: Spread = field(default_factory=lambda: spread(DURATION))
    first_token: Spread = field(default_factory=lambda: spread(FIRST_TOKEN))
    token_gap: Spread = field(default_factory=lambda: spread(TOKEN_GAP))

    def include(self, other: Row) -> None:
        """Add another one up."""
        for name in self.__struct_fields__:
            mine, its = getattr(self, name), getattr(other, name)
            if isinstance(mine, Spread):
                mine.include(its)
            elif isinstance(mine, dict):
                _add_up(mine, its)
            else:
                setattr(self, name, mine + its)

    def note(self, record: Record) -> None:
        """One more request."""
        self.requests += 1
        self.duration.add((record.total_ms or 0.0) / 1000.0, DURATION)
        if record.code is not None and record.phase is _FAILED:
            self.errors[record.code] = self.errors.get(record.code, 0) + 1
        if record.stream:
            self.streams += 1
            self._note_pace(record)
        if record.prompt_tokens is not None:
            self.prompt_tokens += record.prompt_tokens
        if record.completion_tokens is not None:
            self.completion_tokens += record.completion_tokens
        if record.cached_tokens:
            self.cached_tokens += min(record.cached_tokens, record.prompt_tokens or 0)
        if record.reasoning_tokens:
            self.reasoning_tokens += min(record.reasoning_tokens, record.completion_tokens or 0)
        if record.priced:
            self._note_cost(record)
        if len(record.attempts) > 1:
            self._note_more_tries(record.attempts)
        if record.decision is not None and record.decision.is_fallback and record.attempts:
            self.fallbacks += 1

    def _note_pace(self, record: Record) -> None:
        first, total = record.first_token_ms, record.total_ms
        if first is None or total is None:
            return
        self.first_token.add(first / 1000.0, FIRST_TOKEN)
        tokens = record.completion_tokens or 0
        if tokens > 1:
            self.token_gap.add((total - first) / (tokens - 1) / 1000.0, TOKEN_GAP)

    def _note_cost(self, record: Record) -> None:
        if record.cost_source == "unknown":
            self.unpriced += 1
        elif record.cost_usd is None:
            return
        elif record.cost_source == "measured":
            self.measured_usd += record.cost_usd
        else:
            self.estimated_usd += record.cost_usd

    def _note_more_tries(self, attempts: Sequence[Attempt]) -> None:
        seen = {attempts[0].backend}
        for attempt in attempts[1:]:
            if attempt.backend in seen:
                self.retries += 1
            else:
                self.failovers += 1
                seen.add(attempt.backend)


class Tally(Struct, kw_only=True):
    """A reader of `History`.

    Attributes:
        rows: by endpoint, model, backend, API key and outcome; an empty name: there is none.
        attempts: tries by backend and outcome (`ok`, or the kind of error).
        exclusions: by stage and backend: how often a stage of routing took it off the candidates.
        refusals: requests that were answered before the relay had them, by kind of error and
            endpoint.
        stages: seconds in each stage of routing, of some requests.
        queue_wait: seconds of the requests that waited for a slot.
        routing: seconds from a request's arrival to its first decision.
        process: what the operating system says of the process, by the names of Prometheus.
        born: tells this tally from that of a process that takes its place.
    """

    rows: dict[Labels, Row] = {}
    attempts: dict[Pair, int] = {}
    exclusions: dict[Pair, int] = {}
    refusals: dict[Pair, int] = {}
    stages: dict[str, Spread] = {}
    queue_wait: Spread = field(default_factory=lambda: spread(QUEUE_WAIT))
    routing: Spread = field(default_factory=lambda: spread(ROUTING))
    process: dict[str, float] = {}
    born: str = ""

    def __call__(self, ended: Sequence[Record]) -> None:
        """Count the requests that ended."""
        for record in ended:
            self._row(record).note(record)
            if record.route_ms is not None:
                self.routing.add(record.route_ms / 1000.0, ROUTING)
            if record.queued_ms is not None:
                self.queue_wait.add(record.queued_ms / 1000.0, QUEUE_WAIT)
            for attempt in record.attempts:
                _count(self.attempts, (attempt.backend, attempt.code or ANSWERED))
            if record.decision is not None:
                for rejection in record.decision.rejections:
                    _count(self.exclusions, (rejection.stage, rejection.backend))

    def refuse(self, kind: str | None, endpoint: str) -> None:
        """Count a request that was refused before it got to the relay, and is in no other count.
        None: a failure of ours that has no kind."""
        _count(self.refusals, (kind or OTHER, endpoint))

    def note_stage(self, name: str, seconds: float) -> None:
        """A stage of routing took so long."""
        times = self.stages.get(name)
        if times is None:
            times = self.stages[name] = spread(STAGE)
        times.add(seconds, STAGE)

    def _row(self, record: Record) -> Row:
        model, outcome = record.model, record.phase.value
        if model is None:
            model = record.decision.resolution.model if record.decision else UNKNOWN
        labels = (record.endpoint, model, record.backend or "", record.key or "", outcome)
        row = self.rows.get(labels)
        if row is None:
            if len(self.rows) >= MOST_ROWS:
                labels = (record.endpoint, OTHER, OTHER, OTHER, outcome)
            row = self.rows.setdefault(labels, Row())
        return row

    def bequest(self) -> Tally:
        """What stays of it when its process has ended: all that only grows."""
        grows = {name: n for name, n in self.process.items() if name.endswith("_total")}
        return replace(self, process=grows)

    def include(self, other: Tally) -> None:
        """Add another one up."""
        for labels, row in other.rows.items():
            self.rows.setdefault(labels, Row()).include(row)
        _add_up(self.attempts, other.attempts)
        _add_up(self.exclusions, other.exclusions)
        _add_up(self.refusals, other.refusals)
        for name, times in other.stages.items():
            self.stages.setdefault(name, spread(STAGE)).include(times)
        self.queue_wait.include(other.queue_wait)
        self.routing.include(other.routing)
        started = "process_start_time_seconds"
        starts = [t.process[started] for t in (self, other) if started in t.process]
        _add_up(self.process, other.process)
        if starts:
            self.process[started] = min(starts)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of some tallies, which stay as they are."""
    whole = Tally()
    for tally in tallies:
        whole.include(tally)
    return whole


def _count(counts: dict[Pair, int], labels: Pair) -> None:
    if labels not in counts and len(counts) >= MOST_ROWS:
        labels = (OTHER, OTHER)
    counts[labels] = counts.get(labels, 0) + 1


N = TypeVar("N", int, float)
K = TypeVar("K", str, Pair)


def _add_up(counts: dict[K, N], more: Mapping[K, N]) -> None:
    for labels, count in more.items():
        counts[labels] = counts.get(labels, type(count)(0)) + count
