"""How well one backend serves one model: the score with its parts, both windows, the last hour."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.state import QualityState, QualityView, QualityWindow
from nexus_proxy.wording import plural
from nexus_tui.format import (
    NONE,
    QUALITY_STATES,
    Cell,
    Line,
    Moment,
    count,
    duration,
    field,
    heading,
    milliseconds,
    percent,
    rate,
    score,
    sparkline,
)
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen
from nexus_tui.selection import Selection

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


def quality_story(view: QualityView, moment: Moment) -> Sequence[Line]:
    """All that is known of one backend with one model."""
    return [
        *_standing(view, moment),
        *_parts(view),
        *_window("Last hour", view.hour),
        *_window("Last 24 hours", view.day),
        *_trend(view),
    ]


def _standing(view: QualityView, moment: Moment) -> Iterator[Line]:
    yield (Cell(clean(view.model), "strong"), Cell(" on "), Cell(clean(view.backend), "strong"))
    since = "" if view.state_since is None else f" {moment.lasting(view.state_since)}"
    yield field("state", QUALITY_STATES[view.state].cell, Cell(since, "muted"))
    if view.reason:
        yield field("because", Cell(clean(view.reason), "bad"))
    if view.state is QualityState.EXCLUDED and view.excluded_until is not None:
        left = duration(view.excluded_until - moment.now)
        until = (
            f"{moment.clock(view.excluded_until)}, in {left}: then one request at a time tries it"
        )
        yield field("until", Cell(until))
    elif view.state is QualityState.HALF_OPEN:
        yield field("until", Cell("two requests in a row went well; one at a time tries it"))
    if view.state is not QualityState.IN_USE:
        yield field("meanwhile", Cell("it serves only what nobody else can serve", "muted"))


def _parts(view: QualityView) -> Iterator[Line]:
    yield from heading("Score")
    yield field("score", score(view.score))
    if view.score is None:
        return
    parts = view.parts
    yield field("success", Cell(percent(parts.success)), Cell("  requests that went well", "muted"))
    yield field("whole", Cell(percent(parts.whole)), Cell("  streams that were not cut", "muted"))
    prompt = "  100% while the median is below the threshold"
    yield field("first token", Cell(percent(parts.first_token)), Cell(prompt, "muted"))
    yield field("rate", Cell(percent(parts.rate)), Cell("  100% from 20 tokens/s on", "muted"))


def _window(title: str, window: QualityWindow) -> Iterator[Line]:
    yield from heading(title)
    if not window.requests:
        yield field("requests", Cell("none", "muted"))
        return
    faults = f"{plural(window.faults, 'fault')}, {plural(window.cuts, 'stream')} cut"
    yield field("requests", Cell(count(window.requests)), Cell(f", {faults}"))
    times = (
        ("mean", window.first_token_ms),
        ("half below", window.first_token_p50_ms),
        ("95% below", window.first_token_p95_ms),
    )
    known = ", ".join(f"{name} {milliseconds(value)}" for name, value in times if value is not None)
    yield field("first token", Cell(known or NONE))
    yield field("tokens/s", Cell(rate(window.tokens_per_second)))


def _trend(view: QualityView) -> Iterator[Line]:
    yield from heading("Last hour, five minutes a bar, now on the right")
    yield field("success", Cell(sparkline(view.success_trend, most=1.0), "accent"))
    slowest = max((ms for ms in view.first_token_trend if ms is not None), default=None)
    most = "" if slowest is None else f"  up to {milliseconds(slowest)}"
    yield field(
        "first token", Cell(sparkline(view.first_token_trend), "accent"), Cell(most, "muted")
    )


class QualityDetailScreen(StoryScreen):
    """One row of the quality tab, as long as it is known."""

    def __init__(self, view: QualityView, now: float) -> None:
        super().__init__()
        self._view, self.now = view, now

    def show(self, snapshot: Snapshot) -> None:
        mine = (self._view.backend, self._view.model)
        found = (one for one in snapshot.quality if (one.backend, one.model) == mine)
        self._view, self.now = next(found, self._view), snapshot.taken_at
        self.redraw()

    def story(self) -> Sequence[Line]:
        return quality_story(self._view, self.moment)

    def selection(self) -> Selection:
        return Selection(self._view.backend, self._view.model)
