"""Backends: who is there, and how each is doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_proxy.state import BackendState, BackendView
from nexus_tui.format import (
    STAR,
    STATES,
    Cell,
    Line,
    Tone,
    busy,
    milliseconds,
    rate,
)
from nexus_tui.overview.first_run import places
from nexus_tui.safe_text import clean
from nexus_tui.screens.backend_detail import BackendDetailScreen, backend_story
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

_MODELS = 20
"""Models told of beside the table; the screen of its own has them all."""

ACCEPT_HINT = "found; y lets it have traffic"


def note(view: BackendView) -> Cell:
    """The one thing about it that somebody should know now."""
    if not view.accepted:
        return Cell(ACCEPT_HINT, "accent")
    if view.reason and view.state is not BackendState.UP:
        return Cell(clean(view.reason), STATES[view.state].tone)
    return Cell(" ".join(clean(tag) for tag in view.tags), "muted")


class BackendsPane(TablePane[BackendView]):
    def columns(self) -> Sequence[Column[BackendView]]:
        return (
            Column(title="Backend", width=14, grow=True, sort=lambda b: b.name),
            Column(title="State", width=10, sort=lambda b: b.state.value),
            Column(title="Type", width=8, priority=3, sort=lambda b: b.type.value),
            Column(title="Zone", width=12, priority=1, sort=lambda b: b.zone),
            Column(title="Busy", width=5, right=True, sort=lambda b: b.in_flight),
            Column(title="Models", width=6, right=True, priority=2, sort=lambda b: len(b.models)),
            Column(
                title="1st token", width=9, right=True, priority=4, sort=lambda b: b.first_token_ms
            ),
            Column(
                title="Tok/s", width=5, right=True, priority=5, sort=lambda b: b.tokens_per_second
            ),
            Column(title="Prio", width=4, right=True, priority=6, sort=lambda b: b.priority),
            Column(title="Note", width=22, priority=7, grow=True),
        )

    def items(self, snapshot: Snapshot) -> Sequence[BackendView]:
        return snapshot.backends

    def key(self, item: BackendView) -> str:
        return item.name

    def cells(self, item: BackendView) -> Sequence[Cell]:
        up = item.state is BackendState.UP
        figures: Tone = "" if up else "muted"
        star = f"{STAR} " if item.pinned_models else ""
        return (
            Cell(star + clean(item.name), "strong" if up else ""),
            STATES[item.state].cell,
            Cell(item.type.value, figures),
            Cell(item.zone.label, figures),
            Cell(busy(item), "accent" if item.in_flight else figures),
            Cell(str(len(item.models)), figures),
            Cell(milliseconds(item.first_token_ms), figures),
            Cell(rate(item.tokens_per_second), figures),
            Cell(str(item.priority), "muted"),
            note(item),
        )

    def haystack(self, item: BackendView) -> str:
        words = [
            item.name,
            item.url,
            f"state:{STATES[item.state].word}",
            f"type:{item.type.value}",
            f"zone:{item.zone.label}",
            f"source:{item.source.value}",
            *(f"tag:{tag}" for tag in item.tags),
            *(model.id for model in item.models),
        ]
        return " ".join(words)

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        return [
            (Cell("No backends yet.", "strong"),),
            (),
            (Cell("a", "accent"), Cell("  adds one by its URL, or in another terminal:")),
            (Cell("    nexus backends add http://localhost:11434", "info"),),
            (Cell("To try it with a real small model on this machine:"),),
            (Cell("    nexus --demo", "info"),),
            (),
            *places(snapshot),
        ]

    def story(self, item: BackendView, snapshot: Snapshot, width: int) -> Sequence[Line]:
        return backend_story(item, snapshot, self.moment, models=_MODELS)

    def copied(self, item: BackendView) -> str:
        return item.url

    def detail(self, item: BackendView) -> BackendDetailScreen:
        return BackendDetailScreen(item.name, self.snapshot)

    def selection(self) -> Selection:
        selected = self.table.selected
        return Selection(backend=None if selected is None else selected.name)
