"""The table alone: which lines it draws, and where its cursor goes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from nexus_tui.format import Cell
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.live_table import Edge, LiveTable


class Row(NamedTuple):
    name: str
    value: int | None = 0


def rows(*names: str) -> list[Row]:
    return [Row(name, number) for number, name in enumerate(names)]


class CountingTable(LiveTable[Row]):
    """Counts the rows it formats and the lines it draws."""

    formatted = 0
    drawn = 0

    def render_line(self, y: int):  # type: ignore[no-untyped-def]  # noqa: ANN201
        self.drawn += 1
        return super().render_line(y)


class TableApp(App[None]):
    CSS = "LiveTable { height: 1fr; overflow-x: hidden; }"

    def __init__(self, follow: Edge | None) -> None:
        super().__init__()
        self.follow = follow
        self.told: list[str] = []

    def compose(self) -> ComposeResult:
        columns = (
            Column[Row](title="Name", width=10, grow=True, sort=lambda row: row.name),
            Column[Row](title="Value", width=5, sort=lambda row: row.value),
        )
        yield CountingTable(columns, key=lambda row: row.name, cells=self.cells, follow=self.follow)

    def cells(self, row: Row) -> Sequence[Cell]:
        self.table.formatted += 1
        return Cell(row.name), Cell(str(row.value))

    @property
    def table(self) -> CountingTable:
        return self.query_one(CountingTable)

    def on_live_table_opened(self) -> None:
        assert self.table.selected is not None
        self.told.append(self.table.selected.name)


@asynccontextmanager
async def table(
    given: Sequence[Row] = (), *, follow: Edge | None = None
) -> AsyncIterator[tuple[CountingTable, Pilot[None]]]:
    app = TableApp(follow)
    async with app.run_test(size=(30, 11)) as pilot:
        app.table.focus()
        app.table.show(given)
        await pilot.pause()
        yield app.table, pilot


def selected(shown: LiveTable[Row]) -> str | None:
    return None if shown.selected is None else shown.selected.name


async def test_the_selection_stays_with_its_row_when_rows_move() -> None:
    async with table(rows("a", "b", "c")) as (shown, pilot):
        await pilot.press("j")
        assert selected(shown) == "b"
        shown.show(rows("x", "y", "c", "b"))
        assert selected(shown) == "b"
        shown.show(rows("b"))
        assert selected(shown) == "b"


async def test_when_the_selected_row_goes_its_place_stays_selected() -> None:
    async with table(rows("a", "b", "c")) as (shown, pilot):
        await pilot.press("j")
        shown.show(rows("a", "c"))
        assert selected(shown) == "c"
        shown.show(rows("a"))
        assert selected(shown) == "a"
        shown.show([])
        assert selected(shown) is None
        await pilot.press("j", "k", "G", "g", "enter", "pagedown")
        assert selected(shown) is None


async def test_moving_ends_at_the_ends() -> None:
    many = rows(*(f"row-{number:03}" for number in range(100)))
    async with table(many) as (shown, pilot):
        await pilot.press("k")
        assert selected(shown) == "row-000"
        await pilot.press("G", "j")
        assert selected(shown) == "row-099"
        assert shown.scroll_offset.y == 90
        await pilot.press("pageup")
        assert selected(shown) == "row-090"
        await pilot.press("g")
        assert (selected(shown), shown.scroll_offset.y) == ("row-000", 0)


async def test_only_visible_rows_are_formatted() -> None:
    many = rows(*(f"row-{number}" for number in range(100_000)))
    async with table(many) as (shown, _):
        assert shown.formatted <= 20


async def test_only_lines_that_look_different_are_drawn_again() -> None:
    async with table(rows("a", "b", "c", "d")) as (shown, pilot):
        shown.drawn = 0
        shown.show(rows("a", "b", "c", "d"))
        await pilot.pause()
        assert shown.drawn == 0
        shown.show([Row("a", 0), Row("b", 77), Row("c", 2), Row("d", 3)])
        await pilot.pause()
        assert shown.drawn == 1
        assert "77" in shown.render_line(2).text


async def test_lines_of_rows_that_went_are_wiped() -> None:
    async with table(rows("a", "b", "c")) as (shown, pilot):
        shown.show(rows("a"))
        await pilot.pause()
        assert [shown.render_line(y).text.split() for y in (1, 2, 3)] == [["▌a", "0"], [], []]


async def test_a_click_on_the_header_sorts_and_unknown_values_go_last() -> None:
    given = [Row("b", 2), Row("a", None), Row("c", 1)]
    async with table(given) as (shown, pilot):
        await pilot.click(CountingTable, offset=(3, 0))
        assert [row.name for row in shown.items] == ["a", "b", "c"]
        await pilot.click(CountingTable, offset=(3, 0))
        assert [row.name for row in shown.items] == ["c", "b", "a"]
        await pilot.click(CountingTable, offset=(3, 0))
        assert [row.name for row in shown.items] == ["b", "a", "c"]
        await pilot.press("s", "s")
        assert [row.name for row in shown.items] == ["c", "b", "a"]
        assert shown.render_line(0).text.split() == ["Name", "Valu▲"]
        await pilot.press("S")
        assert [row.name for row in shown.items] == ["b", "c", "a"]
        assert shown.render_line(0).text.split() == ["Name", "Valu▼"]


async def test_a_click_selects_and_a_second_opens() -> None:
    async with table(rows("a", "b", "c")) as (shown, pilot):
        await pilot.click(CountingTable, offset=(3, 3))
        assert selected(shown) == "c"
        await pilot.click(CountingTable, offset=(3, 9))
        assert selected(shown) == "c"
        await pilot.double_click(CountingTable, offset=(3, 2))
        await pilot.pause()
        app = shown.app
        assert isinstance(app, TableApp)
        assert app.told == ["b"]


async def test_following_the_first_row_until_moved_away() -> None:
    async with table(rows("b", "c"), follow="first") as (shown, pilot):
        shown.show(rows("a", "b", "c"))
        assert selected(shown) == "a"
        await pilot.press("j")
        shown.show(rows("z", "a", "b", "c"))
        assert selected(shown) == "b"
        await pilot.press("g")
        shown.show(rows("y", "z", "a"))
        assert selected(shown) == "y"


async def test_following_the_last_row_scrolls_with_it() -> None:
    many = rows(*(f"row-{number}" for number in range(50)))
    async with table(many, follow="last") as (shown, pilot):
        assert selected(shown) == "row-49"
        shown.show([*many, Row("new")])
        await pilot.pause()
        assert selected(shown) == "new"
        assert "new" in shown.render_line(shown.size.height - 1).text
