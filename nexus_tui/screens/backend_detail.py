"""Everything about one backend, on a screen of its own or beside the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.state import BackendTrend, BackendView, Capability, ModelInfo, QualityView
from nexus_tui.format import (
    QUALITY_STATES,
    STAR,
    STATES,
    Cell,
    Line,
    Moment,
    busy,
    capabilities,
    context,
    count,
    field,
    heading,
    milliseconds,
    names,
    percent,
    rate,
    score,
    size,
    sparkline,
)
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen
from nexus_tui.selection import Selection

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


def backend_story(
    view: BackendView, snapshot: Snapshot, moment: Moment, *, models: int | None = None
) -> Sequence[Line]:
    """What is known of a backend: identity, state, load, how fast and how well it served lately,
    last errors, and its first models."""
    judged = [one for one in snapshot.quality if one.backend == view.name]
    return [
        *_identity(view, moment),
        *_load(view),
        *_lately(snapshot.trends.get(view.name)),
        *_errors(view),
        *_quality(judged[:models]),
        *_models(view, models),
    ]


def _identity(view: BackendView, moment: Moment) -> Iterator[Line]:
    mark = STATES[view.state]
    yield (Cell(clean(view.name), "strong"),)
    since = Cell(f" {moment.lasting(view.state_since)}", "muted")
    yield field("state", mark.cell, since)
    if view.reason:
        yield field("", Cell(clean(view.reason), mark.tone))
    if view.warning:
        yield field("warning", Cell(clean(view.warning), "warn"))
    if not view.accepted:
        yield field("", Cell("No traffic until it is accepted: y", "accent"))
    yield field("url", Cell(clean(view.url)))
    version = f" {clean(view.version)}" if view.version else ""
    yield field("type", Cell(view.type.value + version))
    yield field("found by", Cell(view.source.value))
    yield field("", Cell(clean(view.origin), "muted"))
    yield field("last seen", Cell(moment.ago(view.last_seen)))
    yield from heading("Routing")
    yield field("zone", Cell(view.zone.label))
    yield field("tier", Cell(str(view.tier)))
    yield field("priority", Cell(str(view.priority)), Cell(" (lower is preferred)", "muted"))
    yield field("tags", Cell(names(view.tags)))
    if view.pinned_models:
        yield field("pinned", Cell(f"{STAR} {names(view.pinned_models)}", "accent"))


def _load(view: BackendView) -> Iterator[Line]:
    yield from heading("Traffic")
    slots = f" slots {view.slots_source}" if view.slots is not None else " slots unknown"
    yield field("busy", Cell(busy(view)), Cell(slots, "muted"))
    yield field("requests", Cell(count(view.requests)))
    yield field("failures", Cell(count(view.failures), "bad" if view.failures else ""))
    yield field("first token", Cell(milliseconds(view.first_token_ms)))
    yield field("tokens/s", Cell(rate(view.tokens_per_second)))
    yield field("check", Cell(milliseconds(view.probe_ms)))


def _lately(trend: BackendTrend | None) -> Iterator[Line]:
    """Nothing for a backend that did not serve lately."""
    if trend is None:
        return
    minutes = trend.seconds * len(trend.requests) // 60
    yield from heading(f"Last {minutes} minutes, {trend.seconds} s a bar, now right")
    slowest = max((ms for ms in trend.first_token_ms if ms is not None), default=None)
    yield _spark("first token", trend.first_token_ms, milliseconds(slowest))
    yield _spark("tokens/s", trend.tokens_per_second, rate(max(trend.tokens_per_second)))
    yield _spark("requests", trend.requests, count(max(trend.requests)))


def _spark(label: str, values: Sequence[float | None], most: str) -> Line:
    return field(label, Cell(sparkline(values), "accent"), Cell(f" max {most}", "muted"))


def _quality(judged: Sequence[QualityView]) -> Iterator[Line]:
    if judged:
        yield from heading("Quality, last hour")
    for one in judged:
        state = QUALITY_STATES[one.state].cell
        yield (Cell(f"  {clean(one.model)}", "strong"),)
        yield (Cell("    "), score(one.score), Cell("  "), state)
        if one.score is not None:
            parts = one.parts
            went = f"    success {percent(parts.success)} · whole {percent(parts.whole)}"
            pace = f"    first token {percent(parts.first_token)} · rate {percent(parts.rate)}"
            yield (Cell(went, "muted"),)
            yield (Cell(pace, "muted"),)


def _models(view: BackendView, limit: int | None) -> Iterator[Line]:
    yield from heading(f"Models ({len(view.models)})")
    if not view.models:
        yield (Cell("  none listed", "muted"),)
    for model in view.models[:limit]:
        pinned = f"{STAR} " if model.id in view.pinned_models else ""
        yield (Cell(f"  {pinned}{clean(model.id)}", "strong"),)
        for line in _describe(model):
            yield (Cell(f"    {line}", "muted"),)
    if limit is not None and len(view.models) > limit:
        yield (Cell(f"  and {len(view.models) - limit} more: enter", "muted"),)


def _describe(model: ModelInfo) -> Iterator[str]:
    state = {True: "loaded", False: "not loaded", None: ""}[model.loaded]
    facts = (
        f"context {context(model)}",
        state,
        "remote" if model.remote else "",
        clean(model.parameters or ""),
        clean(model.quantization or ""),
        size(model.size_bytes) if model.size_bytes else "",
    )
    yield " · ".join(fact for fact in facts if fact)
    if model.can:
        yield capabilities(model)
    if model.cannot:
        yield "without " + " ".join(one.value for one in Capability if one in model.cannot)
    if model.aliases:
        yield f"also {names(model.aliases)}"


def _errors(view: BackendView) -> Iterator[Line]:
    if view.recent_errors:
        yield from heading("Last errors")
        for error in reversed(view.recent_errors):
            yield (Cell(f"  {clean(error)}", "bad"),)


class BackendDetailScreen(StoryScreen):
    """One backend, full screen. The verbs work here too."""

    def __init__(self, name: str, snapshot: Snapshot | None) -> None:
        super().__init__()
        self._backend = name
        self._view: BackendView | None = None
        self._snapshot = snapshot
        self._gone = False
        if snapshot is not None:
            self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        found = next((one for one in snapshot.backends if one.name == self._backend), None)
        self._gone = found is None
        self._view = found or self._view
        self._snapshot, self.now = snapshot, snapshot.taken_at

    def show(self, snapshot: Snapshot) -> None:
        self._take(snapshot)
        self.redraw()

    def story(self) -> Sequence[Line]:
        if self._view is None or self._snapshot is None:
            return [(Cell(f"{clean(self._backend)} is not listed."),)]
        gone: list[Line] = [(Cell("No longer listed. What was known last:", "warn"),), ()]
        return [
            *(gone if self._gone else ()),
            *backend_story(self._view, self._snapshot, self.moment),
        ]

    def selection(self) -> Selection:
        return Selection() if self._gone else Selection(backend=self._backend)
