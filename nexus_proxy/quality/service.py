"""The quality of every backend with every model: fed once for each attempt, judged by a timer.

Only an exclusion is decided at once. Scores and windows are made anew every
`quality.metrics_interval_seconds`, off the way of requests, and then saved.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum

from nexus_proxy.config.model import QualityConfig
from nexus_proxy.events import BackendAdded, BackendRemoved, Bus, Event, QualityChanged
from nexus_proxy.quality.exclusion import Exclusion
from nexus_proxy.quality.rows import Row, Saved, bucket_of, row_of
from nexus_proxy.quality.score import UNKNOWN, judge
from nexus_proxy.quality.windows import DAY_BUCKETS, HOUR_BUCKETS, MINUTE, QUARTER, Bucket, Window
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import QualityParts, QualityState, QualityView, QualityWindow
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

MOST_PAIRS = 256
"""Pairs of backend and model that are kept, each at most some 60 KB; beyond it, the oldest
makes room."""
TREND_POINTS = 12


class Outcome(Enum):
    """How an attempt ended, as far as the backend can be blamed."""

    SERVED = "served"
    FAULT = "fault"
    """It failed before its first byte reached the client: refused, reset, 5xx, garbage, silence."""
    CUT = "cut"
    """It broke off after its first byte had reached the client."""
    BLAMELESS = "blameless"
    """The caller's mistake, a client that left, a full queue, a capability that it lacks: says
    nothing about the backend, but that the attempt is over."""


class Pair:
    """One backend with one model."""

    __slots__ = ("day", "day_view", "exclusion", "hour", "hour_view", "parts", "since", "trend")

    def __init__(self) -> None:
        self.exclusion = Exclusion()
        self.hour = Window(MINUTE, HOUR_BUCKETS)
        self.day = Window(QUARTER, DAY_BUCKETS)
        self.hour_view = self.day_view = QualityWindow()
        self.parts: QualityParts = UNKNOWN
        self.trend: Sequence[Bucket] = ()
        self.since: float | None = None

    def judge(self, now: float, config: QualityConfig) -> None:
        """Make windows, score and parts anew. `now` is seconds since the epoch."""
        self.hour_view = self.hour.total(now).view()
        self.day_view = self.day.total(now).view()
        self.exclusion.score, self.parts = judge(self.hour_view, self.day_view, config)
        self.trend = self.hour.series(now, points=TREND_POINTS)

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing happened for a day."""
        counted = self.hour_view.requests or self.day_view.requests
        return not counted and not self.exclusion.excluded_until


class Quality:
    """Owns what is known of all pairs, and each `Backend.quality`.

    Both clocks are arguments for tests' sake: `clock` is wall time, `monotonic` is what
    `RequestFacts.now` is.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        bus: Bus,
        config: QualityConfig,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry, self._bus, self._config = registry, bus, config
        self._clock, self._monotonic = clock, monotonic
        self._save: Callable[[Saved], None] | None = None
        self._pairs: dict[tuple[str, str], Pair] = {}
        self._forgotten: list[str] = []
        self._task: asyncio.Task[None] | None = None
        bus.subscribe(self._backend_came_or_went, BackendAdded, BackendRemoved)

    # -- life ----------------------------------------------------------------------------------

    def apply(self, config: QualityConfig) -> None:
        """Take over a changed configuration."""
        self._config = config

    def connect(self, save: Callable[[Saved], None]) -> None:
        """Tell `save` what changed, at each interval and at the end. It must neither wait nor
        raise."""
        self._save = save

    def start(self) -> None:
        """Judge from now on, at each interval."""
        self._task = spawn(self._judge_on(), name="quality")

    def stop(self) -> None:
        """Save what changed, and judge no more."""
        if self._task is not None:
            self._task.cancel()
        self._hand_over()

    async def _judge_on(self) -> None:
        while True:
            await asyncio.sleep(self._config.metrics_interval_seconds)
            self.recompute()
            self._hand_over()

    def _hand_over(self) -> None:
        if self._save is not None:
            self._save(self.dump())

    # -- requests ------------------------------------------------------------------------------

    def begin(self, backend: Backend, model: str) -> None:
        """An attempt begins. `model` is the id by which the backend lists it."""
        pair = self._pairs.get((backend.name, model))
        if pair is not None and pair.exclusion.excluded_until:
            pair.exclusion.begin()

    def note(
        self,
        backend: Backend,
        model: str,
        outcome: Outcome,
        first_token_ms: float | None = None,
        tokens_per_second: float | None = None,
    ) -> None:
        """An attempt ended: to be called once for each `begin`, however it ended."""
        pair = self._pairs.get((backend.name, model))
        if outcome is Outcome.BLAMELESS:
            if pair is not None:
                pair.exclusion.settle()
            return
        if pair is None and (pair := self._new_pair(backend, model)) is None:
            return
        now = self._clock()
        failed = outcome is not Outcome.SERVED
        if failed:
            cut = outcome is Outcome.CUT
            pair.hour.at(now).failed(cut=cut)
            pair.day.at(now).failed(cut=cut)
        else:
            pair.hour.at(now).served(first_token_ms, tokens_per_second)
            pair.day.at(now).served(first_token_ms, tokens_per_second)
        if pair.exclusion.note(failed, self._monotonic(), self._config):
            self._tell(backend.name, model, pair)

    # -- judging -------------------------------------------------------------------------------

    def recompute(self) -> None:
        """Make all scores anew, and forget pairs that nothing was heard of for a day."""
        now, moment = self._clock(), self._monotonic()
        for (backend, model), pair in list(self._pairs.items()):
            pair.judge(now, self._config)
            if pair.exclusion.lapse(moment):
                self._tell(backend, model, pair)
            if pair.is_forgotten:
                self._drop(backend, model)

    def views(self) -> tuple[QualityView, ...]:
        """What is known of each backend that is listed, by model, best first."""
        views = [
            self._view(backend, model, pair)
            for (backend, model), pair in self._pairs.items()
            if backend in self._registry
        ]
        views.sort(key=lambda v: (v.model, v.score is None, -(v.score or 0.0), v.backend))
        return tuple(views)

    def _view(self, backend: str, model: str, pair: Pair) -> QualityView:
        if not pair.day_view.requests:
            pair.judge(self._clock(), self._config)
        exclusion, reason, until = pair.exclusion, None, None
        state = QualityState.IN_USE
        if exclusion.excluded_until:
            wait = exclusion.excluded_until - self._monotonic()
            state = QualityState.EXCLUDED if wait > 0 else QualityState.HALF_OPEN
            until = self._clock() + wait
            reason = _reason(exclusion)
        return QualityView(
            backend=backend,
            model=model,
            score=exclusion.score,
            parts=pair.parts,
            hour=pair.hour_view,
            day=pair.day_view,
            state=state,
            state_since=pair.since,
            excluded_until=until,
            reason=reason,
            success_trend=tuple(
                1.0 - b.faults / b.requests if b.requests else None for b in pair.trend
            ),
            first_token_trend=tuple(b.view().first_token_ms for b in pair.trend),
        )

    # -- saving --------------------------------------------------------------------------------

    def dump(self) -> Saved:
        """What changed since the last call."""
        rows: list[Row] = [
            row_of(backend, model, window.width, start, bucket)
            for (backend, model), pair in self._pairs.items()
            for window in (pair.hour, pair.day)
            for start, bucket in window.changed()
        ]
        forgotten, self._forgotten = self._forgotten, []
        return Saved(rows, forgotten, int(self._clock()) - QUARTER * DAY_BUCKETS)

    def load(self, rows: Iterable[Sequence[object]]) -> int:
        """Take over what an earlier run saved, before the first request. Rows that are too old,
        from the future, or make no sense are passed over; returns how many made no sense."""
        now, unreadable = self._clock(), 0
        for row in rows:
            try:
                backend, model, width, start, bucket = bucket_of(row)
            except ValueError:
                unreadable += 1
                continue
            pair = self._pairs.get((backend, model)) or Pair()
            window = {MINUTE: pair.hour, QUARTER: pair.day}.get(width)
            if window is None:
                unreadable += 1
            elif window.put(start, bucket, now) and len(self._pairs) < MOST_PAIRS:
                self._pairs[backend, model] = pair
        for one in self._registry:
            self._attach(one)
        self.recompute()
        return unreadable

    # -- inside --------------------------------------------------------------------------------

    def _new_pair(self, backend: Backend, model: str) -> Pair | None:
        """A pair to be, unless its backend is gone."""
        if backend.name not in self._registry:
            return None
        if len(self._pairs) >= MOST_PAIRS:
            self._drop(*next(iter(self._pairs)))
        pair = self._pairs[backend.name, model] = Pair()
        backend.quality[model] = pair.exclusion
        return pair

    def _drop(self, backend: str, model: str) -> None:
        del self._pairs[backend, model]
        if backend in self._registry:
            self._registry.get(backend).quality.pop(model, None)

    def _backend_came_or_went(self, event: Event) -> None:
        match event:
            case BackendAdded(name=name):
                self._attach(self._registry.get(name))
            case BackendRemoved(name=name):
                for pair in [key for key in self._pairs if key[0] == name]:
                    del self._pairs[pair]
                self._forgotten.append(name)

    def _attach(self, backend: Backend) -> None:
        for (name, model), pair in self._pairs.items():
            if name == backend.name:
                backend.quality[model] = pair.exclusion

    def _tell(self, backend: str, model: str, pair: Pair) -> None:
        pair.since = self._clock()
        exclusion = pair.exclusion
        if exclusion.excluded_until:
            seconds = exclusion.excluded_until - self._monotonic()
            what = f"is left out for {model}: {_reason(exclusion)}; tried again in {seconds:.0f} s"
        else:
            what = f"is used for {model} again"
        self._bus.publish(QualityChanged(backend=backend, model=model, what=what))


def _reason(exclusion: Exclusion) -> str:
    return f"{exclusion.faults} of its last {exclusion.out_of} requests failed"
