"""Everything about one backend, beside the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.content import Content
from textual.widget import Widget

from nexus_proxy.state import BackendView, Capability, ModelInfo
from nexus_tui.format import (
    STAR,
    STATES,
    Cell,
    Line,
    ago,
    busy,
    capabilities,
    context,
    count,
    duration,
    field,
    heading,
    milliseconds,
    names,
    rate,
    size,
)
from nexus_tui.safe_text import clean
from nexus_tui.themes import paint

_MODELS = 20
"""Models listed beside the table; the screen of its own has them all."""


class BackendDetail(Widget):
    """The story of the backend under the cursor, as far as it fits."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()
        self._content = Content()

    def show(self, view: BackendView | None, now: float) -> None:
        """Tell about this backend from now on."""
        lines = () if view is None else backend_story(view, now, models=_MODELS)
        if lines != self._lines:
            self._lines, self._content = lines, paint(lines)
            self.refresh()

    def render(self) -> Content:
        return self._content


def backend_story(view: BackendView, now: float, *, models: int | None = None) -> Sequence[Line]:
    """What is known of a backend: identity, state, load, last errors, and its first models."""
    return [*_identity(view, now), *_load(view), *_errors(view), *_models(view, models)]


def _identity(view: BackendView, now: float) -> Iterator[Line]:
    mark = STATES[view.state]
    yield (Cell(clean(view.name), "strong"),)
    since = Cell(f" for {duration(now - view.state_since)}", "muted")
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
    yield field("last seen", Cell(ago(view.last_seen, now)))
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
