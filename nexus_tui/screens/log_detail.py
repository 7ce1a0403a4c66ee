"""One log line in full, however long its message is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_tui.format import LEVELS, Cell, Line, clock, field
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen

if TYPE_CHECKING:
    from nexus_proxy.state import LogLine


class LogDetailScreen(StoryScreen):
    """A log line; a message of several lines (a traceback) is shown as such."""

    def __init__(self, line: LogLine) -> None:
        super().__init__()
        self._line = line

    def story(self) -> Sequence[Line]:
        line = self._line
        tone = LEVELS.get(line.level.lower(), "")
        return [
            field("time", Cell(clock(line.at))),
            field("level", Cell(clean(line.level), tone)),
            field("component", Cell(clean(line.component))),
            (),
            *((Cell(clean(part), tone),) for part in line.message.splitlines()),
        ]
