"""A table for rows that change several times a second, on Textual's line API.

Only visible rows are formatted, and only lines whose cells changed are drawn again; a
`DataTable` renders every visible row for each cell that changes, which a proxy on the same loop
feels. The selection belongs to a key, not to a position: it stays with its row when rows move.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, Literal, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from nexus_tui.format import Cell
from nexus_tui.safe_text import fit
from nexus_tui.widgets.columns import GAP, Column, Fitted, fit_columns

T = TypeVar("T")

Edge = Literal["first", "last"]
Cells = Sequence[Cell]

_HEADER = 1
_MARGINS = 2
_STRIPS_KEPT = 1024
_CURSOR_MARK = "▌"


class LiveTable(ScrollView, Generic[T], can_focus=True, inherit_bindings=False):
    """Rows of `T`. `key` names a row for good; `cells` formats it, one cell a column.

    `follow` keeps the selection at the first or last row until the user moves it away, and again
    once it is moved back there.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False, tooltip="One row up"),
        Binding("down,j", "move(1)", "Down", show=False, tooltip="One row down"),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="One page up"),
        Binding("pagedown", "page(1)", "Page down", show=False, tooltip="One page down"),
        Binding("home,g", "first", "First", show=False, tooltip="To the first row"),
        Binding("end,G", "last", "Last", show=False, tooltip="To the last row"),
        Binding("s", "sort", "Sort", show=False, tooltip="Sort by the next column"),
        Binding("S", "turn", "Turn", show=False, tooltip="Turn the order round"),
        Binding(
            "enter",
            "open",
            "Detail",
            key_display="enter",
            tooltip="Everything about the selected row",
        ),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "live-table--header",
        "live-table--cursor",
        "live-table--mark",
        "live-table--strong",
        "live-table--muted",
        "live-table--accent",
        "live-table--good",
        "live-table--warn",
        "live-table--bad",
        "live-table--info",
    }

    class Highlighted(Message):
        """Another row is selected, or none."""

    class Opened(Message):
        """The selected row is to be shown in full."""

    def __init__(
        self,
        columns: Sequence[Column[T]],
        *,
        key: Callable[[T], str],
        cells: Callable[[T], Cells],
        follow: Edge | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.columns = tuple(columns)
        self._key = key
        self._format = cells
        self._edge = follow
        self.following = follow is not None
        self._given: Sequence[T] = ()
        self._items: Sequence[T] = ()
        self._cursor = 0
        self._selected_key: str | None = None
        self._sort: tuple[int, bool] | None = None
        self._fitted: Fitted = ()
        self._formatted: dict[int, Cells] = {}
        self._painted: dict[int, tuple[Cells, bool] | None] = {}
        self._strips: dict[tuple[tuple[Cell, ...], bool, bool], Strip] = {}

    # -- what is shown ---------------------------------------------------------------------

    @property
    def selected(self) -> T | None:
        """The row under the cursor."""
        return self._items[self._cursor] if self._cursor < len(self._items) else None

    @property
    def items(self) -> Sequence[T]:
        """The rows in the order shown."""
        return self._items

    @property
    def in_view(self) -> Sequence[T]:
        """The rows that are on the screen, or would be, were the table shown."""
        top = self.scroll_offset.y
        return self._items[top : top + self._page]

    def show(self, items: Sequence[T]) -> None:
        """Show these rows from now on; redraws only the lines that look different."""
        if items is not self._given:
            self._given = items
            self._arrange()
        self._formatted.clear()
        self._refresh_changed()

    def use(self, columns: Sequence[Column[T]]) -> None:
        """The same columns with other widths and priorities, from now on."""
        self.columns = tuple(columns)
        self._fitted = fit_columns(self.columns, self.size.width - _MARGINS)
        self._forget_drawing()
        self.refresh()

    def _arrange(self) -> None:
        self._items = self._sorted(self._given)
        height = len(self._items) + _HEADER
        if self.virtual_size.height != height:
            self.virtual_size = Size(self.size.width, height)
        self._place_cursor()

    def _sorted(self, items: Sequence[T]) -> Sequence[T]:
        if self._sort is None:
            return items
        index, backwards = self._sort
        value = self.columns[index].sort
        if value is None:
            return items
        known = [item for item in items if value(item) is not None]
        unknown = [item for item in items if value(item) is None]
        return sorted(known, key=value, reverse=backwards) + unknown

    def _place_cursor(self) -> None:
        """Find the selected row again, wherever it went."""
        was_visible = self._is_visible(self._cursor)
        if self.following:
            self._cursor = 0 if self._edge == "first" else max(0, len(self._items) - 1)
        else:
            self._cursor = self._index_of(self._selected_key)
        if was_visible or self.following:
            self._scroll_to_cursor()
        self._note_selection()

    def _index_of(self, key: str | None) -> int:
        near = self._cursor
        if key is None:
            return 0
        if near < len(self._items) and self._key(self._items[near]) == key:
            return near
        for index, item in enumerate(self._items):
            if self._key(item) == key:
                return index
        return max(0, min(near, len(self._items) - 1))

    def _note_selection(self) -> None:
        selected = self.selected
        key = None if selected is None else self._key(selected)
        if key != self._selected_key:
            self._selected_key = key
            self.post_message(self.Highlighted())

    # -- moving ----------------------------------------------------------------------------

    def select(self, key: str) -> None:
        """Put the cursor on the row with this key, if there is one."""
        index = self._index_of(key)
        if index < len(self._items) and self._key(self._items[index]) == key:
            self._move_to(index)

    def _move_to(self, index: int) -> None:
        if not self._items:
            return
        last = len(self._items) - 1
        before, self._cursor = self._cursor, max(0, min(index, last))
        self.following = self._edge is not None and self._cursor == (
            0 if self._edge == "first" else last
        )
        self._note_selection()
        self._refresh_row(before)
        self._refresh_row(self._cursor)
        self._scroll_to_cursor()

    def action_move(self, rows: int) -> None:
        self._move_to(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        self._move_to(self._cursor + pages * max(1, self._page - 1))

    def action_first(self) -> None:
        self._move_to(0)

    def action_last(self) -> None:
        self._move_to(len(self._items) - 1)

    def action_open(self) -> None:
        if self.selected is not None:
            self.post_message(self.Opened())

    def action_sort(self) -> None:
        """Sort by the next sortable column; after the last, by none."""
        sortable = [index for index, _ in self._fitted if self.columns[index].sort]
        current = self._sort[0] if self._sort else None
        later = [index for index in sortable if current is None or index > current]
        self._sort_by((later[0], False) if later else None)

    def action_turn(self) -> None:
        """Sort the other way round by the same column, or by the first that can be sorted by."""
        if self._sort is None:
            self.action_sort()
        else:
            index, backwards = self._sort
            self._sort_by((index, not backwards))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if event.y < _HEADER:
            self._sort_at(event.x)
            return
        row = self.scroll_offset.y + event.y - _HEADER
        if row < len(self._items):
            self._move_to(row)
            if event.chain == 2:
                self.action_open()

    def _sort_at(self, x: int) -> None:
        left = 1
        for index, width in self._fitted:
            if left <= x < left + width + GAP and self.columns[index].sort:
                again = self._sort is not None and self._sort[0] == index
                backwards = again and self._sort is not None and not self._sort[1]
                self._sort_by(None if again and not backwards else (index, backwards))
                return
            left += width + GAP

    def _sort_by(self, order: tuple[int, bool] | None) -> None:
        self._sort = order
        self._arrange()
        self._formatted.clear()
        self.refresh()

    # -- geometry --------------------------------------------------------------------------

    @property
    def _page(self) -> int:
        return max(0, self.size.height - _HEADER)

    def _is_visible(self, row: int) -> bool:
        return 0 <= row - self.scroll_offset.y < self._page

    def _scroll_to_cursor(self) -> None:
        top = self.scroll_offset.y
        if self._cursor < top:
            self.scroll_to(y=self._cursor, animate=False, immediate=True)
        elif self._page and self._cursor >= top + self._page:
            self.scroll_to(y=self._cursor - self._page + 1, animate=False, immediate=True)

    def on_resize(self) -> None:
        self._fitted = fit_columns(self.columns, self.size.width - _MARGINS)
        self._forget_drawing()
        self.virtual_size = Size(self.size.width, len(self._items) + _HEADER)
        self._scroll_to_cursor()

    # -- drawing ---------------------------------------------------------------------------

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._forget_drawing()

    def _forget_drawing(self) -> None:
        self._strips.clear()
        self._painted.clear()

    def _refresh_row(self, row: int) -> None:
        if self._is_visible(row):
            y = row - self.scroll_offset.y + _HEADER
            self.refresh(Region(0, y, self.size.width, 1))

    def _refresh_changed(self) -> None:
        for y in range(_HEADER, self.size.height):
            if self._painted.get(y, ()) != self._line(y):
                self.refresh(Region(0, y, self.size.width, 1))

    def _line(self, y: int) -> tuple[Cells, bool] | None:
        """What line `y` of the widget has to show: its cells, and whether the cursor is there."""
        row = self.scroll_offset.y + y - _HEADER
        if row >= len(self._items):
            return None
        cells = self._formatted.get(row)
        if cells is None:
            cells = self._formatted[row] = tuple(self._format(self._items[row]))
        return cells, row == self._cursor

    def render_line(self, y: int) -> Strip:
        width = self.size.width
        if y < _HEADER:
            return self._header()
        line = self._painted[y] = self._line(y)
        if line is None:
            return Strip.blank(width, self.rich_style)
        cells, has_cursor = line
        key = (tuple(cells), has_cursor, self.has_focus)
        strip = self._strips.get(key)
        if strip is None:
            if len(self._strips) >= _STRIPS_KEPT:
                self._strips.clear()
            strip = self._strips[key] = self._strip(cells, has_cursor)
        return strip

    def _header(self) -> Strip:
        style = self.get_component_rich_style("live-table--header")
        segments = [Segment(" ", style)]
        for index, width in self._fitted:
            column = self.columns[index]
            title = column.title
            if self._sort is not None and self._sort[0] == index:
                title = title[: width - 1] + ("▼" if self._sort[1] else "▲")
            segments.append(Segment(fit(title, width, right=column.right) + " " * GAP, style))
        return Strip(segments).adjust_cell_length(self.size.width, style)

    def _strip(self, cells: Cells, has_cursor: bool) -> Strip:
        base = self.rich_style
        mark = Segment(" ", base)
        if has_cursor:
            base = self.get_component_rich_style("live-table--cursor")
            mark_style = self.get_component_rich_style("live-table--mark", partial=True)
            mark = Segment(_CURSOR_MARK if self.has_focus else " ", base + mark_style)
        segments = [mark]
        for index, width in self._fitted:
            cell = cells[index]
            text = fit(cell.text, width, right=self.columns[index].right) + " " * GAP
            segments.append(Segment(text, base + self._tone(cell)))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def _tone(self, cell: Cell) -> Style:
        if not cell.tone:
            return Style.null()
        return self.get_component_rich_style(f"live-table--{cell.tone}", partial=True)

    def on_focus(self) -> None:
        self._refresh_row(self._cursor)

    def on_blur(self) -> None:
        self._refresh_row(self._cursor)
