"""Quality: how well each backend serves each model, and who is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_proxy.state import QualityState, QualityView
from nexus_tui.format import (
    QUALITY_STATES,
    Cell,
    Line,
    Tone,
    count,
    milliseconds,
    percent,
    rate,
    score,
    sparkline,
)
from nexus_tui.safe_text import clean
from nexus_tui.screens.quality_detail import QualityDetailScreen, quality_story
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


class QualityPane(TablePane[QualityView]):
    def columns(self) -> Sequence[Column[QualityView]]:
        return (
            Column(title="Model", width=16, grow=True, sort=lambda row: row.model),
            Column(title="Backend", width=14, sort=lambda row: row.backend),
            Column(title="Score", width=9, sort=lambda row: row.score),
            Column(title="State", width=10, sort=lambda row: row.state.value),
            Column(title="Success", width=7, right=True, sort=lambda row: row.parts.success),
            Column(title="Last hour", width=12, priority=1),
            Column(
                title="1st token",
                width=9,
                right=True,
                priority=2,
                sort=lambda row: row.hour.first_token_p50_ms,
            ),
            Column(
                title="Tok/s",
                width=5,
                right=True,
                priority=3,
                sort=lambda row: row.hour.tokens_per_second,
            ),
            Column(title="Cut", width=4, right=True, priority=5, sort=lambda row: row.hour.cuts),
            Column(title="1 h", width=6, right=True, priority=4, sort=lambda r: r.hour.requests),
            Column(title="24 h", width=6, right=True, priority=6, sort=lambda r: r.day.requests),
        )

    def items(self, snapshot: Snapshot) -> Sequence[QualityView]:
        return snapshot.quality

    def key(self, item: QualityView) -> str:
        return f"{item.backend}\0{item.model}"

    def cells(self, item: QualityView) -> Sequence[Cell]:
        tone: Tone = "accent" if item.state is QualityState.IN_USE else "bad"
        return (
            Cell(clean(item.model), "strong"),
            Cell(clean(item.backend)),
            score(item.score),
            QUALITY_STATES[item.state].cell,
            Cell(percent(item.parts.success)),
            Cell(sparkline(item.success_trend, most=1.0), tone),
            Cell(milliseconds(item.hour.first_token_p50_ms)),
            Cell(rate(item.hour.tokens_per_second)),
            Cell(count(item.hour.cuts), "bad" if item.hour.cuts else "muted"),
            Cell(count(item.hour.requests), "muted"),
            Cell(count(item.day.requests), "muted"),
        )

    def haystack(self, item: QualityView) -> str:
        return f"{item.model} {item.backend} state:{item.state.value} {item.reason or ''}"

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        return [
            (Cell("No request has reached a backend yet.", "strong"),),
            (Cell("Each backend is judged by what it does with real requests, model by model:"),),
            (Cell("success, cut streams, first token, tokens per second."),),
            (Cell("4", "accent"), Cell("  shows how to send one.")),
        ]

    def story(self, item: QualityView, snapshot: Snapshot, width: int) -> Sequence[Line]:
        return quality_story(item, self.moment)

    def copied(self, item: QualityView) -> str:
        return item.model

    def detail(self, item: QualityView) -> QualityDetailScreen:
        now = 0.0 if self.snapshot is None else self.snapshot.taken_at
        return QualityDetailScreen(item, now)

    def selection(self) -> Selection:
        selected = self.table.selected
        return Selection() if selected is None else Selection(selected.backend, selected.model)
