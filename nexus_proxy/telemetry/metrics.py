"""A tally and a snapshot as Prometheus reads them.

Nothing is kept here: families are made when somebody scrapes. Import it late, since
`prometheus_client` takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from nexus_proxy.routing.timing import EACH
from nexus_proxy.state import BackendState, BackendView, ModelInfo, QualityState, Snapshot
from nexus_proxy.telemetry import tally as bounds
from nexus_proxy.telemetry.tally import Labels, Row, Spread, Tally

MOST_MODELS = 1000
"""Models with gauges of their own; a cloud may list more, and `nexus_backend_models` counts all."""
_PROCESS = {
    "process_cpu_seconds_total": "CPU time used, of all workers.",
    "process_resident_memory_bytes": "Memory in use, of all workers.",
    "process_virtual_memory_bytes": "Virtual memory, of all workers.",
    "process_open_fds": "Open file descriptors, of all workers.",
    "process_max_fds": "File descriptors that may be open, of all workers.",
    "process_start_time_seconds": "Start of the oldest worker, since the epoch.",
}

Counted = Callable[[Row], float]
Spreading = Callable[[Row], Spread]
K = TypeVar("K", bound=tuple[str, ...])


def exposition(tally: Tally, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """The whole page and its content type, in the format that `accept` asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page(tally, snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def process_figures() -> dict[str, float]:
    """What the operating system says of this process; nothing where it has no /proc."""
    families = ProcessCollector(registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


class Page:
    """A collector of prometheus_client over one tally and one snapshot."""

    def __init__(self, tally: Tally, snapshot: Snapshot) -> None:
        self._tally, self._snapshot = tally, snapshot

    def collect(self) -> Iterator[Metric]:
        """All families."""
        yield from self._requests()
        yield from self._tries()
        yield from self._tokens_and_money()
        yield from self._times()
        yield from self._now()
        yield from self._backends()
        yield from self._models()
        yield from self._process()

    # -- what has been -------------------------------------------------------------------------

    def _requests(self) -> Iterator[Metric]:
        yield self._sum(
            "requests",
            "Requests that ended, by outcome: done, failed, or cancelled by the client.",
            ("endpoint", "model", "backend", "key", "outcome"),
            lambda row: row.requests,
        )
        yield self._sum(
            "stream_requests",
            "Of these, those that asked for a stream.",
            ("endpoint", "model", "backend", "outcome"),
            lambda row: row.streams,
        )
        errors: dict[tuple[str, ...], float] = {}
        for labels, row in self._tally.rows.items():
            for kind, count in row.errors.items():
                _add(errors, (kind, *_chosen(labels, ("endpoint", "model", "backend"))), count)
        yield _counter(
            "errors",
            "Failed requests, by the error that the client was told.",
            ("kind", "endpoint", "model", "backend"),
            errors,
        )

        yield _counter(
            "refused",
            "Requests refused before they were routed, which no other counter has.",
            ("kind", "endpoint"),
            self._tally.refusals,
        )

    def _tries(self) -> Iterator[Metric]:
        by = ("model", "backend")
        yield _counter(
            "attempts",
            "Tries at a backend, by outcome: ok, client_left, cancelled_by_operator, or the kind "
            "of error.",
            ("backend", "outcome"),
            self._tally.attempts,
        )
        yield self._sum(
            "retries", "Tries at a backend that had failed the request.", by, lambda r: r.retries
        )
        yield self._sum(
            "failovers",
            "Tries at another backend after one had failed the request.",
            by,
            lambda row: row.failovers,
        )
        yield self._sum(
            "fallbacks",
            "Requests sent to another model than the one asked for.",
            by,
            lambda row: row.fallbacks,
        )
        yield _counter(
            "exclusions",
            "Times that a stage of routing took a backend off the candidates of a request.",
            ("stage", "backend"),
            self._tally.exclusions,
        )

    def _tokens_and_money(self) -> Iterator[Metric]:
        by = ("model", "backend", "key")
        yield self._sum("prompt_tokens", "Tokens read.", by, lambda row: row.prompt_tokens)
        yield self._sum(
            "completion_tokens",
            "Tokens generated; counted by us where the backend does not tell.",
            by,
            lambda row: row.completion_tokens,
        )
        yield self._sum(
            "cached_tokens",
            "Of the prompt tokens, those from the backend's cache.",
            by,
            lambda row: row.cached_tokens,
        )
        yield self._sum(
            "reasoning_tokens",
            "Of the completion tokens, those thought and not said.",
            by,
            lambda row: row.reasoning_tokens,
        )
        rows = self._tally.rows
        money: dict[tuple[str, ...], float] = {}
        for labels, row in rows.items():
            chosen = _chosen(labels, by)
            if row.measured_usd:
                _add(money, (*chosen, "measured"), row.measured_usd)
            if row.estimated_usd:
                _add(money, (*chosen, "estimated"), row.estimated_usd)
        yield _counter(
            "cost_usd",
            "Cost of requests in USD, by how it is known; unknown prices are in no sum.",
            (*by, "provenance"),
            money,
        )
        yield self._sum(
            "unpriced_requests",
            "Requests that cost something that nobody knows.",
            by,
            lambda row: row.unpriced,
        )

    def _times(self) -> Iterator[Metric]:
        yield self._histogram(
            "request_duration_seconds",
            "From a request's arrival to its end.",
            ("endpoint", "model", "backend", "outcome"),
            lambda row: row.duration,
            bounds.DURATION,
        )
        yield self._histogram(
            "first_token_seconds",
            "From a request's arrival to the first token of its stream.",
            ("model", "backend"),
            lambda row: row.first_token,
            bounds.FIRST_TOKEN,
        )
        yield self._histogram(
            "inter_token_seconds",
            "Mean time between two tokens of a stream.",
            ("model", "backend"),
            lambda row: row.token_gap,
            bounds.TOKEN_GAP,
        )
        yield _histogram(
            "queue_wait_seconds",
            "How long requests waited for a slot; those that did not wait are left out.",
            (),
            {(): self._tally.queue_wait},
            bounds.QUEUE_WAIT,
        )
        yield _histogram(
            "routing_seconds",
            "From a request's arrival to its decision: reading it, and all stages.",
            (),
            {(): self._tally.routing},
            bounds.ROUTING,
        )
        yield _histogram(
            "stage_seconds",
            f"How long a stage of routing took; of one request in {EACH}.",
            ("stage",),
            {(name,): times for name, times in self._tally.stages.items()},
            bounds.STAGE,
        )

    # -- what is -------------------------------------------------------------------------------

    def _now(self) -> Iterator[Metric]:
        now = self._snapshot
        yield _gauge("build_info", "Always 1; the version.", ("version",), {(now.version,): 1})
        yield _gauge("start_time_seconds", "Start, since the epoch.", (), {(): now.started_at})
        yield _gauge("draining", "1 while it takes no new requests.", (), {(): now.draining})
        yield _gauge("in_flight", "Requests that run.", (), {(): now.totals.in_flight})
        yield _gauge("queue_depth", "Requests that wait for a slot.", (), {(): len(now.queue)})
        budget = now.budget
        yield _gauge(
            "budget_spent_usd",
            "Spent this month, in USD, also by earlier runs.",
            (),
            {(): budget.spent_usd} if budget else {},
        )
        yield _gauge(
            "budget_reserved_usd",
            "Put aside for requests that run, in USD.",
            (),
            {(): budget.reserved_usd} if budget else {},
        )
        yield _gauge(
            "budget_limit_usd",
            "The month's limit in USD; absent without one.",
            (),
            {(): budget.limit_usd} if budget and budget.limit_usd is not None else {},
        )

    def _backends(self) -> Iterator[Metric]:
        views = self._snapshot.backends
        found: dict[tuple[str, ...], float] = {}
        for view in views:
            _add(found, (view.source.value, "yes" if view.accepted else "no"), 1)
        yield _gauge(
            "discovered_backends",
            "Backends listed, by where they were found and whether they may have traffic.",
            ("source", "accepted"),
            found,
        )
        info = ("backend", "type", "zone", "tier", "version")
        yield _gauge(
            "backend_info",
            "Always 1; what a backend is.",
            info,
            {(v.name, v.type.value, v.zone.label, str(v.tier), v.version or ""): 1 for v in views},
        )
        yield _gauge(
            "backend_state",
            "1 for the state that a backend is in, 0 for the others.",
            ("backend", "state"),
            {(v.name, s.value): v.state is s for v in views for s in BackendState},
        )
        yield from (
            _gauge(name, help_, ("backend",), _known(views, read))
            for name, help_, read in _OF_A_BACKEND
        )

    def _models(self) -> Iterator[Metric]:
        offers = [(view.name, model) for view in self._snapshot.backends for model in view.models]
        yield from (
            _gauge(
                name,
                help_,
                ("backend", "model"),
                {
                    (backend, model.id): value
                    for backend, model in offers[:MOST_MODELS]
                    if (value := read(model)) is not None
                },
            )
            for name, help_, read in _OF_A_MODEL
        )
        quality = self._snapshot.quality
        yield _gauge(
            "quality_score",
            "How well a backend serves a model, 0 to 100; absent with too few requests.",
            ("backend", "model"),
            {(q.backend, q.model): q.score for q in quality if q.score is not None},
        )
        yield _gauge(
            "quality_excluded",
            "1 while a backend is left out for a model since it failed too often.",
            ("backend", "model"),
            {(q.backend, q.model): q.state is QualityState.EXCLUDED for q in quality},
        )

    def _process(self) -> Iterator[Metric]:
        for name, value in self._tally.process.items():
            family: CounterMetricFamily | GaugeMetricFamily
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, _PROCESS[name])
            family.add_metric((), value)
            yield family

    # -- adding up -----------------------------------------------------------------------------

    def _sum(self, name: str, help_: str, by: Sequence[str], read: Counted) -> Metric:
        sums: dict[tuple[str, ...], float] = {}
        for labels, row in self._tally.rows.items():
            _add(sums, _chosen(labels, by), read(row))
        return _counter(name, help_, by, sums)

    def _histogram(
        self,
        name: str,
        help_: str,
        by: Sequence[str],
        read: Spreading,
        edges: tuple[float, ...],
    ) -> Metric:
        sums: dict[tuple[str, ...], Spread] = {}
        for labels, row in self._tally.rows.items():
            if any(read(row).counts):
                sums.setdefault(_chosen(labels, by), bounds.spread(edges)).include(read(row))
        return _histogram(name, help_, by, sums, edges)


_OF_A_BACKEND: tuple[tuple[str, str, Callable[[BackendView], float | None]], ...] = (
    ("backend_in_flight", "Requests that run on it.", lambda v: v.in_flight),
    ("backend_slots", "Requests it can run at a time; absent: unknown.", lambda v: v.slots),
    ("backend_models", "Models that it lists.", lambda v: len(v.models)),
    (
        "backend_probe_seconds",
        "How long its last health check took.",
        lambda v: None if v.probe_ms is None else v.probe_ms / 1000.0,
    ),
    ("backend_seen_time_seconds", "When it answered last, since the epoch.", lambda v: v.last_seen),
)
_OF_A_MODEL: tuple[tuple[str, str, Callable[[ModelInfo], float | None]], ...] = (
    ("model_loaded", "1 if it is in memory there; absent: unknown.", lambda m: m.loaded),
    ("model_context_tokens", "Context that a request can use.", lambda m: m.context_length),
)
_PLACE = {"endpoint": 0, "model": 1, "backend": 2, "key": 3, "outcome": 4}


def _chosen(labels: Labels, by: Iterable[str]) -> tuple[str, ...]:
    return tuple(labels[_PLACE[name]] for name in by)


def _known(
    views: Iterable[BackendView], read: Callable[[BackendView], float | None]
) -> dict[tuple[str, ...], float]:
    return {(view.name,): value for view in views if (value := read(view)) is not None}


def _add(sums: dict[tuple[str, ...], float], labels: tuple[str, ...], value: float) -> None:
    sums[labels] = sums.get(labels, 0) + value


def _counter(name: str, help_: str, by: Sequence[str], sums: Mapping[K, float]) -> Metric:
    family = CounterMetricFamily(f"nexus_{name}", help_, labels=by)
    for labels, value in sums.items():
        family.add_metric(labels, value)
    return family


def _gauge(
    name: str, help_: str, by: Sequence[str], values: Mapping[tuple[str, ...], float]
) -> Metric:
    family = GaugeMetricFamily(f"nexus_{name}", help_, labels=by)
    for labels, value in values.items():
        family.add_metric(labels, float(value))
    return family


def _histogram(
    name: str,
    help_: str,
    by: Sequence[str],
    spreads: Mapping[tuple[str, ...], Spread],
    edges: tuple[float, ...],
) -> Metric:
    family = HistogramMetricFamily(f"nexus_{name}", help_, labels=by)
    for labels, values in spreads.items():
        running, buckets = 0, []
        for edge, count in zip((*map(str, edges), "+Inf"), values.counts, strict=True):
            running += count
            buckets.append((edge, running))
        family.add_metric(labels, buckets, values.total)
    return family
