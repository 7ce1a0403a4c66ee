"""Spend: the month against its limits, day by day, and who spent it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical

from nexus_tui.format import Cell
from nexus_tui.widgets.spend_chart import SpendChart
from nexus_tui.widgets.spend_standing import costs_anything, nothing_lines, standing_lines
from nexus_tui.widgets.spend_table import BACKEND, KEY, MODEL, SpendTable
from nexus_tui.widgets.steady import Steady

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.selection import Selection

_CHART_FROM = 18
"""Rows of the pane from which on there is room for a chart and for tables."""


class SpendPane(Vertical):
    """Three tables side by side; where the screen is narrow, one, and the arrows change it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right", "other(1)", "By", key_display="←→", tooltip="Spend by the next thing"),
        Binding("left", "other(-1)", "By", show=False, tooltip="Spend by the thing before"),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.snapshot: Snapshot | None = None
        self.tables = [
            SpendTable(by, id=f"spend-by-{name}")
            for name, by in (("backend", BACKEND), ("model", MODEL), ("key", KEY))
        ]
        self._current = 0
        self._standing = Steady(id="spend-standing")
        self._chart = SpendChart()
        self._by = Steady(id="spend-by")

    def compose(self) -> ComposeResult:
        yield self._standing
        yield self._chart
        yield self._by
        with Horizontal(id="spend-tables"):
            yield from self.tables

    def on_mount(self) -> None:
        self._mark_current()

    def on_resize(self) -> None:
        self._draw()

    # -- what the dashboard asks -----------------------------------------------------------

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        self.snapshot = snapshot
        self._draw()

    def selection(self) -> Selection | None:
        return self.table.selection()

    def focus_table(self) -> None:
        self.table.focus_table()

    @property
    def table(self) -> SpendTable:
        """The table that keys act on."""
        return self.tables[self._current]

    # -- inside --------------------------------------------------------------------------------

    def _draw(self) -> None:
        snapshot = self.snapshot
        if snapshot is None:
            return
        spend, budget = snapshot.spend, snapshot.budget
        has_money = spend is not None and budget is not None and costs_anything(budget, spend)
        self._chart.display = has_money and self.size.height >= _CHART_FROM
        if spend is None or budget is None:
            self._standing.say([(Cell("Reading what was spent …", "muted"),)])
            return
        is_shared = snapshot.replicas is not None
        self._standing.say(
            standing_lines(budget, spend, self.size.width - 2, is_shared=is_shared)
            if has_money
            else nothing_lines(spend, snapshot.config_path)
        )
        self._chart.show(spend)
        for table in self.tables:
            if table.display or table is self.table:
                table.show(snapshot)

    def _mark_current(self) -> None:
        for table in self.tables:
            table.set_class(table is self.table, "-current")
        names = [table.by.title for table in self.tables]
        marked = (
            Cell(f" ‹{name}› ", "accent") if number == self._current else Cell(f"  {name}  ")
            for number, name in enumerate(names)
        )
        self._by.say([(Cell("By", "muted"), *marked)])

    def action_other(self, steps: int) -> None:
        """Let another table have the keys, and the room where there is only room for one."""
        self._current = (self._current + steps) % len(self.tables)
        self._mark_current()
        self.focus_table()
        self._draw()
        self.app.refresh_bindings()
