"""Spend by backend, model or API key: one table of the spend tab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nexus_proxy.accounting.money import bar, tabular
from nexus_proxy.state import SpendRow, SpendSummary
from nexus_tui.format import NONE, Cell, Line, count
from nexus_tui.safe_text import clean
from nexus_tui.screens.spend_detail import SpendDetailScreen
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.spend_chart import usd
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

_BAR = 12


class By(NamedTuple):
    """What the rows of a table are: its title, and where they stand in a summary."""

    title: str
    rows: Callable[[SpendSummary], Sequence[SpendRow]]


BACKEND = By("Backend", lambda spend: spend.backends)
MODEL = By("Model", lambda spend: spend.models)
KEY = By("API key", lambda spend: spend.keys)


def label_of(row: SpendRow) -> str:
    """What the row is called; requests without an API key have no name."""
    return clean(row.label) or "(no key)"


def cost(row: SpendRow) -> Cell:
    """What it came to, points below each other: `~` is estimated in part, unknown is never $0."""
    if row.requests == row.free_requests:
        return Cell("local  ", "muted")
    known = usd(row)
    if not known and (row.unknown_requests or row.usd_reserved):
        return Cell(f"{NONE}  ", "muted")
    return Cell(("~" if row.usd_estimated else "") + tabular(known))


class SpendTable(TablePane[SpendRow]):
    def __init__(self, by: By, *, id: str) -> None:
        self.by = by
        self._most = 0.0
        super().__init__(id=id)

    def columns(self) -> Sequence[Column[SpendRow]]:
        return (
            Column(title=self.by.title, width=10, grow=True, sort=lambda row: row.label),
            Column(title="Requests", width=8, right=True, priority=1, sort=lambda r: r.requests),
            Column(title="USD  ", width=11, right=True, sort=usd),
            Column(title="?", width=4, right=True, sort=lambda row: row.unknown_requests),
            Column(title="", width=_BAR, priority=2),
            Column(
                title="Tokens in",
                width=13,
                right=True,
                priority=3,
                sort=lambda row: row.prompt_tokens,
            ),
            Column(
                title="Tokens out",
                width=12,
                right=True,
                priority=4,
                sort=lambda row: row.completion_tokens,
            ),
        )

    def items(self, snapshot: Snapshot) -> Sequence[SpendRow]:
        rows = () if snapshot.spend is None else self.by.rows(snapshot.spend)
        self._most = max(map(usd, rows), default=0.0)
        return rows

    def key(self, item: SpendRow) -> str:
        return item.label

    def cells(self, item: SpendRow) -> Sequence[Cell]:
        unknown = f"{item.unknown_requests}?" if item.unknown_requests else ""
        return (
            Cell(label_of(item), "strong"),
            Cell(count(item.requests)),
            cost(item),
            Cell(unknown, "warn"),
            Cell(bar(usd(item), self._most, _BAR), "accent"),
            Cell(count(item.prompt_tokens), "muted"),
            Cell(count(item.completion_tokens), "muted"),
        )

    def haystack(self, item: SpendRow) -> str:
        return label_of(item)

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        if snapshot.spend is None:
            return ()
        return [(Cell("No requests this month.", "muted"),)]

    def story(self, item: SpendRow, snapshot: Snapshot, width: int) -> Sequence[Line]:
        return ()  # three tables share the width

    def detail(self, item: SpendRow) -> SpendDetailScreen:
        return SpendDetailScreen(self.by, item, self.snapshot)

    def selection(self) -> Selection | None:
        """Verbs act on backends that are still there, and on nothing else here."""
        selected = self.table.selected
        if self.by is not BACKEND or selected is None or self.snapshot is None:
            return None
        known = any(view.name == selected.label for view in self.snapshot.backends)
        return Selection(backend=selected.label) if known else None
