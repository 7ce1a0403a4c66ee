"""What all panes are made of: a filter line, a live table, and words for when it is empty."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import Screen
from textual.timer import Timer

from nexus_tui.format import Cell, Line, Moment
from nexus_tui.safe_text import clean
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.filter_bar import PLACEHOLDER, FilterBar, matches
from nexus_tui.widgets.live_table import Edge, LiveTable
from nexus_tui.widgets.side import Side
from nexus_tui.widgets.steady import AROUND_EMPTY, Steady
from nexus_tui.wrapping import wrapped

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp

REST_SECONDS = 0.1
"""How long the cursor rests on a row before its story is told beside the table."""

PACE_SECONDS = 1.0
"""How often that story is told again while nobody moves."""

T = TypeVar("T")


class TablePane(Vertical, Generic[T]):
    """One noun of the gateway as a table. Subclasses say what its rows are and how they look."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/", tooltip="Show only rows with words"),
        Binding("Y", "copy", "Copy", show=False, tooltip="Copy what the selected row is called"),
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
        self._side = Side()
        self._empty = Steady(classes="empty")
        self._absolute = False
        self._resting: Timer | None = None
        self._stale_at = 0.0
        self._words: tuple[str, ...] = ()
        self._passes: Callable[[T], bool] = _always
        self._judged: dict[int, bool | None] = {}
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
    def story(self, item: T, snapshot: Snapshot, width: int) -> Sequence[Line]:
        """All about a row, for lines of `width` cells: it stands beside the table where there is
        room."""

    @abstractmethod
    def detail(self, item: T) -> Screen[Any] | None:
        """The screen that tells all about a row."""

    def copied(self, item: T) -> str:
        """What is copied of a row: what other programs would call it."""
        return self.key(item)

    def selection(self) -> Selection | None:
        """What the row under the cursor stands for; None where rows are nothing to act on."""
        return None

    # -- what all share ----------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        yield self._bar
        with Horizontal():
            with Vertical():
                yield self.table
                yield self._empty
            yield self._side

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        self.snapshot = snapshot
        if self._absolute is not self.moment.absolute:
            self._absolute = self.moment.absolute
            self.table.use(self.columns())
        items = self.items(snapshot)
        shown = self._filter(items, self._bar.words)
        self._bar.show_count(len(shown), len(items))
        self.table.show(shown)
        self._explain(snapshot, items, shown)
        if self._resting is None and time.monotonic() >= self._stale_at:
            self.tell()

    def tell(self) -> None:
        """Tell the story of the selected row beside the table."""
        self._resting = None
        self._stale_at = time.monotonic() + PACE_SECONDS
        selected = self.table.selected
        if self._side.display and self.snapshot is not None:
            width = self._side.content_size.width
            story = () if selected is None else self.story(selected, self.snapshot, width)
            self._side.tell(story)

    @on(LiveTable.Highlighted)
    def _selected_another(self) -> None:
        if self._resting is None and self._side.display and not self.table.following:
            self._resting = self.set_timer(REST_SECONDS, self.tell)

    def on_resize(self) -> None:
        self.call_after_refresh(self._refit)

    def _refit(self) -> None:
        """Break what is said beside the table, or in place of its rows, to the width it has now."""
        self._stale_at = 0.0
        self.redraw()

    @property
    def moment(self) -> Moment:
        """The present as of the last snapshot, and how times are told."""
        now = 0.0 if self.snapshot is None else self.snapshot.taken_at
        return Moment(now, cast("NexusApp", self.app).shows_clock)

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
        # Rows are frozen, and the old ones live until here: the same id means the same row. There
        # may be 10,000, four times a second, so most of it is done in C.
        ids = list(map(id, items))
        hits = list(map(self._judged.get, ids))
        for place, hit in enumerate(hits):
            if hit is None:
                hits[place] = self._passes(items[place])
        self._items, self._judged = items, dict(zip(ids, hits, strict=True))
        self._matching = list(compress(items, hits))
        return self._matching

    def _explain(self, snapshot: Snapshot, items: Sequence[T], shown: Sequence[T]) -> None:
        self._empty.display = not shown
        self.set_class(not shown, "-nothing")
        if items and not shown:
            words = " ".join(self._bar.words)
            text = f"None of {len(items)} rows has {clean(words)!r}. Esc shows all."
            self._empty.say([(Cell(text),)])
        elif not shown:
            self._empty.say(wrapped(self.nothing(snapshot), self.size.width - AROUND_EMPTY))

    def redraw(self) -> None:
        """Draw the last moment again, with other words or settings."""
        if self.snapshot is not None:
            self.show(self.snapshot)

    def focus_table(self) -> None:
        self.screen.set_focus(self.table)

    def action_filter(self) -> None:
        self._bar.open()

    def action_copy(self) -> None:
        selected = self.table.selected
        if selected is not None:
            cast("NexusApp", self.app).copy(self.copied(selected))

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
