"""What several workers saw, as one. Pure.

A `Told` is a worker's number and what it told; the first is the worker that was asked, whose word
counts where all should say the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import msgspec

from nexus_proxy.registry import RECENT_ERRORS
from nexus_proxy.state import (
    RUNNING,
    BackendState,
    BackendTrend,
    BackendView,
    KeyView,
    RequestView,
    Snapshot,
    SpendSummary,
    Totals,
    Trend,
    WaiterView,
)
from nexus_proxy.state.snapshot import SHOWN_LINES, SHOWN_REQUESTS

_WORST_FIRST = (
    BackendState.DOWN,
    BackendState.DISABLED,
    BackendState.DRAINING,
    BackendState.LOADING,
    BackendState.UP,
    BackendState.UNKNOWN,  # of a worker that has just started: the others know better
)


@dataclass(frozen=True, slots=True)
class Told:
    """A worker's number, and its snapshot."""

    worker: int
    snapshot: Snapshot


def merge(
    told: Sequence[Told],
    *,
    kept_requests: int = SHOWN_REQUESTS,
    kept_lines: int = SHOWN_LINES,
) -> Snapshot:
    """One snapshot of all workers. `told` holds at least one.

    Totals add up; requests interleave, newest first; lines interleave, oldest first; a problem is
    told once.
    """
    views = [one.snapshot for one in told]
    lines = heapq.merge(
        *(
            [msgspec.structs.replace(line, worker=one.worker) for line in one.snapshot.logs]
            for one in told
        ),
        key=lambda line: line.at,
    )
    return msgspec.structs.replace(
        views[0],
        started_at=min(view.started_at for view in views),
        draining=any(view.draining for view in views),
        totals=_totals([view.totals for view in views]),
        backends=_backends([view.backends for view in views]),
        requests=newest({one.worker: one.snapshot.requests for one in told}, kept_requests),
        logs=tuple(lines)[-kept_lines:],
        trend=_trend([view.trend for view in views]),
        queue=_in_line([view.queue for view in views]),
        keys=_keys([view.keys for view in views]),
        problems=_once(problem for view in views for problem in view.problems),
        operations=tuple(one for view in views for one in view.operations),
        searching=_once(place for view in views for place in view.searching),
        trends=_backend_trends([view.trends for view in views]),
        spend=_newest_summary([view.spend for view in views]),
    )


def tagged(view: RequestView, worker: int | None) -> RequestView:
    """The view, with the number of the worker that served it."""
    return view if view.worker == worker else msgspec.structs.replace(view, worker=worker)


def newest(told: Mapping[int, Sequence[RequestView]], limit: int) -> tuple[RequestView, ...]:
    """Requests by worker as one list: all that run, by start, then those that ended last, at most
    `limit`, each with its worker's number."""
    views = [tagged(view, worker) for worker, views in told.items() for view in views]
    running = sorted((v for v in views if v.phase in RUNNING), key=lambda v: -v.started)
    ended = sorted((v for v in views if v.phase not in RUNNING), key=_ended_at, reverse=True)
    return (*running, *ended[:limit])


def _ended_at(view: RequestView) -> float:
    return view.started + (view.total_ms or 0.0) / 1000.0


def _totals(totals: Sequence[Totals]) -> Totals:
    return Totals(
        requests=sum(t.requests for t in totals),
        failures=sum(t.failures for t in totals),
        cancelled=sum(t.cancelled for t in totals),
        in_flight=sum(t.in_flight for t in totals),
        requests_per_second=sum(t.requests_per_second for t in totals),
        tokens_per_second=sum(t.tokens_per_second for t in totals),
    )


def _trend(trends: Sequence[Trend]) -> Trend:
    """Added up; younger workers have fewer parts. First-token times are the mean of the means."""

    def summed(series: Iterable[Sequence[int]]) -> tuple[int, ...]:
        backwards = zip_longest(*(reversed(one) for one in series), fillvalue=0)
        return tuple(sum(values) for values in backwards)[::-1]

    times = zip_longest(*(reversed(trend.first_token_ms) for trend in trends))
    return Trend(
        seconds=trends[0].seconds,
        number=trends[0].number,
        requests=summed(trend.requests for trend in trends),
        failures=summed(trend.failures for trend in trends),
        tokens=summed(trend.tokens for trend in trends),
        in_flight=summed(trend.in_flight for trend in trends),
        first_token_ms=tuple(_mean([(value, 1) for value in values]) for values in times)[::-1],
    )


def _backends(lists: Sequence[Sequence[BackendView]]) -> tuple[BackendView, ...]:
    """By name, in the order of the schedule."""
    by_name: dict[str, list[BackendView]] = {}
    for views in lists:
        for view in views:
            by_name.setdefault(view.name, []).append(view)
    merged = [_backend(views) for views in by_name.values()]
    return tuple(sorted(merged, key=lambda view: (view.priority, view.name)))


def _backend(views: Sequence[BackendView]) -> BackendView:
    """One backend as all see it: the worst state with its reason, counts added up, averages
    weighted by requests. A limit that is divided between workers is whole again."""
    worst = min(views, key=lambda view: _WORST_FIRST.index(view.state))
    seen = [view.last_seen for view in views if view.last_seen is not None]
    slots = [view.slots for view in views if view.slots is not None]
    divided = all(view.slots_source == "config" for view in views)
    errors = sorted({error for view in views for error in view.recent_errors})
    return msgspec.structs.replace(
        views[0],
        state=worst.state,
        reason=worst.reason,
        state_since=worst.state_since,
        version=_first(view.version for view in views),
        models=next((view.models for view in views if view.models), ()),
        slots=(sum(slots) if divided else max(slots)) if slots else None,
        slots_source=_first(view.slots_source for view in views),
        in_flight=sum(view.in_flight for view in views),
        requests=sum(view.requests for view in views),
        failures=sum(view.failures for view in views),
        first_token_ms=_mean([(view.first_token_ms, view.requests) for view in views]),
        tokens_per_second=_mean([(view.tokens_per_second, view.requests) for view in views]),
        last_seen=max(seen, default=None),
        recent_errors=tuple(errors[-RECENT_ERRORS:]),
        warning=_first(view.warning for view in views),
    )


def _keys(lists: Sequence[Sequence[KeyView]]) -> tuple[KeyView, ...]:
    """What was used adds up; what may be used at once is what the most drained worker has left."""
    by_name: dict[str, list[KeyView]] = {}
    for views in lists:
        for view in views:
            by_name.setdefault(view.name, []).append(view)
    return tuple(
        msgspec.structs.replace(
            views[0],
            requests_left=_least(view.requests_left for view in views),
            tokens_left=_least(view.tokens_left for view in views),
            requests=sum(view.requests for view in views),
            refused=sum(view.refused for view in views),
            tokens=sum(view.tokens for view in views),
            last_used=max((v.last_used for v in views if v.last_used is not None), default=None),
        )
        for views in by_name.values()
    )


def _least(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)


def _backend_trends(told: Sequence[Mapping[str, BackendTrend]]) -> dict[str, BackendTrend]:
    by_name: dict[str, list[BackendTrend]] = {}
    for trends in told:
        for name, trend in trends.items():
            by_name.setdefault(name, []).append(trend)
    return {name: _backend_trend(trends) for name, trends in by_name.items()}


def _backend_trend(trends: Sequence[BackendTrend]) -> BackendTrend:
    """Requests and tokens add up; first-token times are weighted by requests."""
    weighted = [zip(one.first_token_ms, one.requests, strict=True) for one in trends]
    return msgspec.structs.replace(
        trends[0],
        requests=tuple(map(sum, zip(*(one.requests for one in trends), strict=True))),
        first_token_ms=tuple(_mean(parts) for parts in zip(*weighted, strict=True)),
        tokens_per_second=tuple(
            map(sum, zip(*(one.tokens_per_second for one in trends), strict=True))
        ),
    )


def _in_line(queues: Sequence[Sequence[WaiterView]]) -> tuple[WaiterView, ...]:
    """Each worker has a queue of its own; those who came first are shown first, by position."""
    waiting = sorted((w for queue in queues for w in queue), key=lambda w: (w.position, w.since))
    return tuple(
        msgspec.structs.replace(waiter, position=position)
        for position, waiter in enumerate(waiting, start=1)
    )


def _newest_summary(summaries: Sequence[SpendSummary | None]) -> SpendSummary | None:
    """All read the same file, but not at the same time: who counts most read last."""
    known = [summary for summary in summaries if summary is not None]
    return max(
        known,
        key=lambda summary: (summary.month, sum(day.requests for day in summary.days)),
        default=None,
    )


def _mean(weighted: Sequence[tuple[float | None, int]]) -> float | None:
    known = [(value, max(1, weight)) for value, weight in weighted if value is not None]
    if not known:
        return None
    return sum(value * weight for value, weight in known) / sum(weight for _, weight in known)


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)


def _once(sentences: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(sentences))
