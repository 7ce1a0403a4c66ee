"""API keys: who may ask, for what, and how much of each limit is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_proxy.state import KeyView
from nexus_tui.format import Cell, Line, Tone, count, key_zone, left, names, spent
from nexus_tui.safe_text import clean
from nexus_tui.screens.key_detail import KeyDetailScreen, key_story
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


class KeysPane(TablePane[KeyView]):
    def columns(self) -> Sequence[Column[KeyView]]:
        return (
            Column(title="Key", width=12, grow=True, sort=lambda k: k.name),
            Column(title="Requests/min", width=14, right=True, sort=lambda k: k.requests_left),
            Column(
                title="Tokens/min", width=18, right=True, priority=2, sort=lambda k: k.tokens_left
            ),
            Column(title="Spent/month", width=16, right=True, sort=lambda k: k.spent_usd),
            Column(title="Requests", width=8, right=True, priority=3, sort=lambda k: k.requests),
            Column(title="Refused", width=7, right=True, priority=4, sort=lambda k: k.refused),
            Column(title="Last used", width=11, priority=1, sort=lambda k: k.last_used),
            Column(title="Zone", width=12, priority=5, sort=lambda k: k.zone),
            Column(title="Models", width=14, priority=6, grow=True),
        )

    def items(self, snapshot: Snapshot) -> Sequence[KeyView]:
        return snapshot.keys

    def key(self, item: KeyView) -> str:
        return item.name

    def cells(self, item: KeyView) -> Sequence[Cell]:
        tone: Tone = "accent" if item.priority == "high" else "strong"
        return (
            Cell(clean(item.name) + (" (high)" if item.priority == "high" else ""), tone),
            left(item.requests_left, item.requests_per_minute),
            left(item.tokens_left, item.tokens_per_minute),
            spent(item),
            Cell(count(item.requests)),
            Cell(count(item.refused), "warn" if item.refused else "muted"),
            Cell(self.moment.ago(item.last_used), "muted"),
            Cell(key_zone(item)),
            Cell(names(item.models) if item.models else "all"),
        )

    def haystack(self, item: KeyView) -> str:
        words = (f"zone:{key_zone(item)}", f"priority:{item.priority}")
        return " ".join((item.name, *words, *item.models))

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        return [
            (Cell("No API keys: every program of this machine may use the gateway.", "strong"),),
            (),
            (Cell("To give each client its own, with limits, in another terminal:"),),
            (Cell("    nexus keys create laptop --rpm 60", "info"),),
            (Cell("From then on every request needs one."),),
        ]

    def story(self, item: KeyView, snapshot: Snapshot, width: int) -> Sequence[Line]:
        return key_story(item, self.moment)

    def detail(self, item: KeyView) -> KeyDetailScreen:
        return KeyDetailScreen(item, self.snapshot)
