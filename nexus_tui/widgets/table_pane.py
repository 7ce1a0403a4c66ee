"""What all panes are made of: a filter line, a live table, and words for when it is empty."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen

from nexus_tui.format import Cell, Line
from nexus_tui.safe_text import clean
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.filter_bar import PLACEHOLDER, FilterBar, matches
from nexus_tui.widgets.live_table import Edge, LiveTable
from nexus_tui.widgets.steady import Steady

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

T = TypeVar("T")


class TablePane(Vertical, Generic[T]):
    """One noun of the gateway as a table. Subclasses say what its rows are and how they look."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", tooltip="Show only rows with words"),
        Binding("escape", "unfilter", "Clear filter", show=False, tooltip="Show all rows again"),
    ]
    FOLLOW: ClassVar[Edge | None] = None
    FILTER_HINT: ClassVar[str] = PLACEHOLDER

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.snapshot: Snapshot | None = None
        self.table: LiveTable[T] = LiveTable(
            self.columns(), key=self.key, cells=self.cells, follow=self.FOLLOW
        )
        self._bar = FilterBar(self.FILTER_HINT)
        self._empty = Steady(classes="empty")
        self._words: tuple[str, ...] = ()
        self._passes: Callable[[T], bool] = _always
        self._judged: dict[int, bool] = {}
        self._items: Sequence[T] = ()
        self._matching: Sequence[T] = ()

    # -- what a subclass says ----------------------------------------------------------------

    @abstractmethod
    def columns(self) -> Sequence[Column[T]]:
        """The columns, left to right."""

    @abstractmethod
    def items(self, snapshot: Snapshot) -> Sequence[T]:
        """All rows. The same object as before where nothing changed, so that work is saved."""

    @abstractmethod
    def key(self, item: T) -> str:
        """What names this row for good."""

    @abstractmethod
    def cells(self, item: T) -> Sequence[Cell]:
        """The row, one cell a column."""

    @abstractmethod
    def haystack(self, item: T) -> str:
        """The text that the filter looks at; `word:value` terms are plain parts of it."""

    def passes(self, words: tuple[str, ...]) -> tuple[Callable[[T], bool], str | None]:
        """What the words of the filter ask of a row, and which of them was not understood."""
        return (lambda item: matches(words, self.haystack(item).lower())), None

    @abstractmethod
    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        """What to say when there are no rows at all: why, and what to do next."""

    @abstractmethod
    def detail(self, item: T) -> Screen[Any] | None:
        """The screen that tells all about a row."""

    def selection(self) -> Selection | None:
        """What the row under the cursor stands for; None where rows are nothing to act on."""
        return None

    # -- what all share ----------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self._bar
        yield self.table
        yield self._empty

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        self.snapshot = snapshot
        items = self.items(snapshot)
        shown = self._filter(items, self._bar.words)
        self._bar.show_count(len(shown), len(items))
        self.table.show(shown)
        self._explain(snapshot, items, shown)

    def _filter(self, items: Sequence[T], words: tuple[str, ...]) -> Sequence[T]:
        """The rows that match; rows that were looked at before are not looked at again."""
        if not words:
            self._words = ()
            self._bar.complain(None)
            return items
        if words != self._words:
            self._words, self._judged = words, {}
            self._passes, problem = self.passes(words)
            self._bar.complain(problem)
        elif items is self._items:
            return self._matching
        # rows are frozen, and the old ones live until here: the same id means the same row
        before, now = self._judged, {}
        for item in items:
            hit = before.get(id(item))
            now[id(item)] = self._passes(item) if hit is None else hit
        self._items, self._judged = items, now
        self._matching = [item for item in items if now[id(item)]]
        return self._matching

    def _explain(self, snapshot: Snapshot, items: Sequence[T], shown: Sequence[T]) -> None:
        self._empty.display = not shown
        self.table.set_class(not shown, "-empty")
        if items and not shown:
            words = " ".join(self._bar.words)
            text = f"None of {len(items)} rows has {clean(words)!r}. Esc shows all."
            self._empty.say([(Cell(text),)])
        elif not shown:
            self._empty.say(self.nothing(snapshot))

    def redraw(self) -> None:
        """Draw the last moment again, with other words or settings."""
        if self.snapshot is not None:
            self.show(self.snapshot)

    def focus_table(self) -> None:
        self.screen.set_focus(self.table)

    def action_filter(self) -> None:
        self._bar.open()

    def action_unfilter(self) -> None:
        self._bar.action_clear()

    @on(FilterBar.Changed)
    def _words_changed(self) -> None:
        self.redraw()

    @on(FilterBar.Left)
    def _filter_left(self) -> None:
        self.focus_table()

    @on(LiveTable.Opened)
    def _opened(self) -> None:
        selected = self.table.selected
        if selected is not None and (screen := self.detail(selected)) is not None:
            self.app.push_screen(screen)


def _always(_item: object) -> bool:
    return True
