"""The full story of one request: where it went, why, how long each part took, what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from nexus_proxy.accounting.money import money
from nexus_proxy.errors import NexusError
from nexus_proxy.state import RUNNING, AttemptView, DecisionView, RequestPhase, RequestView
from nexus_tui.format import (
    NONE,
    PHASES,
    Cell,
    Line,
    Moment,
    count,
    duration,
    field,
    heading,
    milliseconds,
    when,
)
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen
from nexus_tui.selection import Selection
from nexus_tui.waterfall import waterfall

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp


def request_story(view: RequestView, moment: Moment, width: int) -> Sequence[Line]:
    """All that was recorded of a request, for lines of `width` cells."""
    story = [*_summary(view, moment), *_clocks(view, moment.now, width)]
    if view.decision is not None:
        story += [*_route(view.decision), *_candidates(view.decision), *_rejections(view.decision)]
    return [*story, *_attempts(view.attempts, moment)]


def _summary(view: RequestView, moment: Moment) -> Iterator[Line]:
    yield (Cell("Request ", "strong"), Cell(clean(view.id), "strong"))
    phase = PHASES[view.phase]
    where = f" on {clean(view.backend)}" if view.backend else ""
    status = f", status {view.status}" if view.status else ""
    yield field("phase", phase.cell, Cell(where + status))
    if view.error:
        yield field("error", Cell(clean(view.error), "bad"))
    yield when("started", view.started, moment)
    streamed = "streamed" if view.stream else "in one piece"
    yield field("endpoint", Cell(clean(view.endpoint)), Cell(f", {streamed}", "muted"))
    yield field("client", Cell(clean(view.client)))
    if view.key:
        yield field("API key", Cell(clean(view.key)))
    yield field("tokens", *_tokens(view))
    if view.truncated is not None:
        yield field("prompt cut", Cell(str(view.truncated), "bad"))
    yield field("cost", *_cost(view))
    if view.finish_reason:
        yield field("finished by", Cell(clean(view.finish_reason)))
    if view.notes:
        yield field("left out", Cell("; ".join(clean(note) for note in view.notes), "warn"))


def _clocks(view: RequestView, now: float, width: int) -> Iterator[Line]:
    yield from heading("Clocks")
    yield from waterfall(view, now, width)
    yield field("first token", Cell(milliseconds(view.first_token_ms)))
    running = f"{duration(now - view.started)} so far" if view.phase in RUNNING else None
    yield field("total", Cell(running or milliseconds(view.total_ms)))


def _tokens(view: RequestView) -> Sequence[Cell]:
    if view.prompt_tokens is None and view.completion_tokens is None:
        return (Cell("not known yet" if view.phase in RUNNING else "unknown", "muted"),)
    cached = f" ({count(view.cached_tokens)} cached)" if view.cached_tokens else ""
    thought = f" ({count(view.reasoning_tokens)} thought)" if view.reasoning_tokens else ""
    read = f"{count(view.prompt_tokens)} in{cached}"
    written = f"{count(view.completion_tokens)} out{thought}"
    return Cell(f"{read}, {written}"), Cell(f", {clean(view.usage_source)}", "muted")


def _cost(view: RequestView) -> Sequence[Cell]:
    if view.cost_source == "n/a":
        ran = view.backend is not None and view.phase is not RequestPhase.FAILED
        where = ": it ran on your own machines" if ran else ""
        return (Cell(f"nothing{where}", "muted"),)
    if view.cost_usd is None:
        return (Cell("unknown", "warn"),)
    return Cell(money(view.cost_usd)), Cell(f", {clean(view.cost_source)}", "muted")


def _route(decision: DecisionView) -> Iterator[Line]:
    yield from heading("Routing")
    yield field("model", Cell(" → ".join(clean(name) for name in _path(decision))))
    tier = f", tier {decision.required_tier} or better" if decision.required_tier else ""
    yield field("requires", Cell(f"zone {decision.required_zone.label}{tier}"))
    needs = ", ".join(clean(need) for need in decision.needs) or "nothing special"
    prompt = f"; about {count(decision.prompt_tokens)} prompt tokens"
    yield field("needs", Cell(needs), Cell(prompt, "muted"))
    reason = clean(decision.route_reason or NONE)
    yield field("chosen for", Cell(reason), Cell(f" by {clean(decision.strategy)}", "muted"))
    for number, (stage, sentence) in enumerate(decision.stages, start=1):
        yield field(f"{number} {clean(stage)}", Cell(clean(sentence)))


def _path(decision: DecisionView) -> Sequence[str]:
    return decision.path or tuple(dict.fromkeys((decision.model_asked, decision.model)))


def _candidates(decision: DecisionView) -> Iterator[Line]:
    yield from heading("Candidates, best first")
    if not decision.candidates:
        yield (Cell("  none was left", "bad"),)
    for number, one in enumerate(decision.candidates, start=1):
        parts = "  ".join(f"{clean(part)} {value:.2f}" for part, value in one.parts.items())
        score = Cell(f"score {one.score:.2f}  ", "good" if number == 1 else "")
        name = Cell(f"  {number} {clean(one.backend)}  ", "strong")
        yield (name, Cell(f"{clean(one.model)}  ", "muted"), score, Cell(parts, "muted"))


def _rejections(decision: DecisionView) -> Iterator[Line]:
    if not decision.rejections:
        return
    yield from heading("Not candidates")
    for one in decision.rejections:
        stage = Cell(f"{clean(one.stage)}: ", "muted")
        yield (Cell(f"  ✕ {clean(one.backend)}  ", "warn"), stage, Cell(clean(one.reason)))
        if one.fix:
            yield (Cell("    to change that: ", "muted"), Cell(clean(one.fix), "info"))


def _attempts(attempts: Sequence[AttemptView], moment: Moment) -> Iterator[Line]:
    if not attempts:
        return
    yield from heading("Attempts")
    for number, one in enumerate(attempts, start=1):
        yield (
            Cell(f"  {number} {clean(one.backend)}  ", "strong"),
            Cell(f"{clean(one.model)}  ", "muted"),
            Cell(f"{moment.clock(one.started)}  connect {milliseconds(one.connect_ms)}"),
            Cell(f"  first token {milliseconds(one.first_token_ms)}"),
            Cell(f"  total {milliseconds(one.total_ms)}"),
        )
        if one.error:
            yield (Cell(f"    ✕ {clean(one.error)}", "bad"),)


class RequestDetailScreen(StoryScreen):
    """One request, live while it runs, and for as long as it is open once it is over."""

    def __init__(self, view: RequestView, now: float) -> None:
        super().__init__()
        self._view = view
        self.now = now

    def on_mount(self) -> None:
        super().on_mount()
        if self._view.decision is None:
            self.run_worker(self._fetch(), exit_on_error=False)

    async def _fetch(self) -> None:
        """Get what the snapshot left out."""
        app = cast("NexusApp", self.app)
        try:
            self._view = await app.source.story(self._view.id)
        except NexusError as error:
            app.notify(clean(error.message), severity="warning", markup=False)
        self.redraw()

    def show(self, snapshot: Snapshot) -> None:
        found = next((one for one in snapshot.requests if one.id == self._view.id), None)
        if found is not None:
            decision = found.decision or self._view.decision
            self._view = msgspec.structs.replace(found, decision=decision)
        self.now = snapshot.taken_at
        self.redraw()

    def story(self) -> Sequence[Line]:
        return request_story(self._view, self.moment, self.width)

    def selection(self) -> Selection:
        return Selection(self._view.backend, self._view.model, self._view.id)
