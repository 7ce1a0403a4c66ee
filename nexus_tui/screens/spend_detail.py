"""What one backend, model or API key has cost this month, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.accounting.money import money
from nexus_proxy.state import SpendRow
from nexus_tui.format import NONE, Cell, Line, count, field, heading, percent
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.widgets.spend_table import By


class SpendDetailScreen(StoryScreen):
    """One row of the spend tab, as long as it is known."""

    def __init__(self, by: By, row: SpendRow, snapshot: Snapshot | None) -> None:
        super().__init__()
        self._by, self._row = by, row
        self._rows: Sequence[SpendRow] = (row,)
        if snapshot is not None:
            self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot.spend is not None:
            self._rows = self._by.rows(snapshot.spend)
            found = (row for row in self._rows if row.label == self._row.label)
            self._row = next(found, self._row)

    def show(self, snapshot: Snapshot) -> None:
        self._take(snapshot)
        self.redraw()

    def story(self) -> Sequence[Line]:
        row = self._row
        name = clean(row.label) or "(no key)"
        return [
            (Cell(f"{self._by.title} ", "muted"), Cell(name, "strong")),
            *heading("This month"),
            *self._cost(row),
            *heading("Requests"),
            field("in all", Cell(count(row.requests))),
            field("local", Cell(count(row.free_requests)), Cell("  free", "muted")),
            field("tokens in", Cell(count(row.prompt_tokens))),
            field("tokens out", Cell(count(row.completion_tokens))),
        ]

    def _cost(self, row: SpendRow) -> Iterator[Line]:
        known = row.usd_measured + row.usd_estimated
        priced = row.requests - row.free_requests - row.unknown_requests
        if not priced and not row.unknown_requests:
            yield field("cost", Cell("nothing: it ran on your own machines"))
            return
        yield field("measured", Cell(money(row.usd_measured) if priced else NONE))
        yield field(
            "estimated", Cell(f"~{money(row.usd_estimated)}" if row.usd_estimated else NONE)
        )
        if row.usd_reserved:
            running = Cell("  by requests that run", "muted")
            yield field("put aside", Cell(money(row.usd_reserved)), running)
        if row.unknown_requests:
            asked = Cell("  requests, in no sum; [[prices]] says what they cost", "muted")
            yield field("unknown", Cell(f"{row.unknown_requests}?", "warn"), asked)
        total = sum(one.usd_measured + one.usd_estimated for one in self._rows)
        if total and known:
            yield field("of all", Cell(percent(known / total * 100)))
            yield field("a request", Cell(money(known / priced)), Cell("  on average", "muted"))
