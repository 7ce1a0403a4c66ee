"""Logs: what the gateway has to say, oldest first, following the newest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from nexus_proxy.state import LogLine
from nexus_tui.format import LEVELS, Cell, Line
from nexus_tui.safe_text import clean
from nexus_tui.screens.log_detail import LogDetailScreen, log_story
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

_THRESHOLDS = ("debug", "info", "warning", "error")
_RANK = {"debug": 0, "info": 1, "warning": 2, "error": 3, "critical": 3}


class LogsPane(TablePane[LogLine]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow", tooltip="Stay at the newest line, or stop doing so"),
        Binding("v", "level", "Level", tooltip="Least level shown: debug, info, warning, error"),
    ]
    FOLLOW = "last"

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.level = "debug"
        self._seen: tuple[tuple[LogLine, ...], str] = ((), "")
        self._rows: Sequence[LogLine] = ()

    def columns(self) -> Sequence[Column[LogLine]]:
        title, width = self.moment.column
        return (
            Column(title=title, width=width, right=True),
            Column(title="Level", width=8),
            Column(title="Component", width=12, priority=1),
            Column(title="Message", width=30, grow=True),
        )

    def items(self, snapshot: Snapshot) -> Sequence[LogLine]:
        seen, level = self._seen
        if seen is not snapshot.logs or level != self.level:
            self._seen = (snapshot.logs, self.level)
            least = _RANK[self.level]
            self._rows = [one for one in snapshot.logs if _RANK.get(one.level.lower(), 3) >= least]
        return self._rows

    def key(self, item: LogLine) -> str:
        return f"{item.at}\0{item.component}\0{item.message}"

    def cells(self, item: LogLine) -> Sequence[Cell]:
        level = item.level.lower()
        tone = LEVELS.get(level, "")
        return (
            Cell(self.moment.age(item.at), "muted"),
            Cell(clean(level), tone),
            Cell(clean(item.component), "muted"),
            Cell(clean(item.message), tone),
        )

    def haystack(self, item: LogLine) -> str:
        return f"level:{item.level} {item.component} {item.message}"

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        if snapshot.logs:
            return [(Cell(f"Nothing at level {self.level} or above. v shows more."),)]
        return [(Cell("Nothing has been logged yet."),)]

    def story(self, item: LogLine, snapshot: Snapshot, width: int) -> Sequence[Line]:
        return log_story(item, self.moment)

    def copied(self, item: LogLine) -> str:
        return item.message

    def detail(self, item: LogLine) -> LogDetailScreen:
        return LogDetailScreen(item, self.moment.now)

    def action_follow(self) -> None:
        """Jump to the newest line and stay there, or stay here."""
        if self.table.following:
            self.table.following = False
        else:
            self.table.action_last()
        following = "following the newest line" if self.table.following else "standing still"
        self.notify(f"Logs: {following}", markup=False, timeout=2)

    def action_level(self) -> None:
        """Show the next higher level and above, and after the highest all."""
        following = _THRESHOLDS.index(self.level) + 1
        self.level = _THRESHOLDS[following % len(_THRESHOLDS)]
        self.redraw()
        self.notify(f"Logs: {self.level} and above", markup=False, timeout=2)
