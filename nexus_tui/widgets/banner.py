"""A row that stays while something is wrong, and says what."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_tui.format import Cell
from nexus_tui.safe_text import clean
from nexus_tui.widgets.steady import Steady


class Banner(Steady):
    """The worst problem, and how many others there are. Away when there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.display = False

    def show(self, problems: Sequence[str]) -> None:
        """Tell these problems, worst first."""
        self.display = bool(problems)
        if problems:
            more = f"  (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            self.say([(Cell(f"▲ {clean(problems[0])}", "bad"), Cell(more, "muted"))])
