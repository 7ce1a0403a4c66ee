"""One log line in full, however long its message is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_tui.format import LEVELS, Cell, Line, Moment, field, when
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen

if TYPE_CHECKING:
    from nexus_proxy.state import LogLine, Snapshot


def log_story(line: LogLine, moment: Moment) -> Sequence[Line]:
    """A log line; a message of several lines (a traceback) is shown as such."""
    tone = LEVELS.get(line.level.lower(), "")
    return [
        when("time", line.at, moment),
        field("level", Cell(clean(line.level), tone)),
        field("component", Cell(clean(line.component))),
        (),
        *((Cell(clean(part), tone),) for part in line.message.splitlines()),
    ]


class LogDetailScreen(StoryScreen):
    """A log line."""

    def __init__(self, line: LogLine, now: float) -> None:
        super().__init__()
        self._line, self.now = line, now

    def show(self, snapshot: Snapshot) -> None:
        self.now = snapshot.taken_at
        self.redraw()

    def story(self) -> Sequence[Line]:
        return log_story(self._line, self.moment)
