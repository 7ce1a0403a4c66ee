"""A row that stays while something is wrong, and says what."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widgets import Static

from nexus_tui.format import Cell
from nexus_tui.safe_text import clean
from nexus_tui.themes import paint


class Banner(Static):
    """The worst problem, and how many others there are. Away when there is none."""

    def __init__(self) -> None:
        super().__init__()
        self._problems: Sequence[str] = ()
        self.display = False

    def show(self, problems: Sequence[str]) -> None:
        """Tell these problems, worst first."""
        if problems == self._problems:
            return
        self._problems = problems
        self.display = bool(problems)
        if problems:
            more = f"  (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            line = (Cell(f"▲ {clean(problems[0])}", "bad"), Cell(more, "muted"))
            self.update(paint([line]), layout=False)
