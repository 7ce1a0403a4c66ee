"""Text that costs nothing while it stays the same."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widgets import Static

from nexus_tui.format import Line
from nexus_tui.themes import paint

AROUND_EMPTY = 6
"""Columns to the left and right of what an empty pane says, as the style sheet has it."""


class Steady(Static):
    """Lines of cells, laid out again only when they read differently."""

    _said: Sequence[Line] = ()

    def say(self, lines: Sequence[Line]) -> None:
        """Show these lines from now on."""
        if lines != self._said:
            self._said = lines
            self.update(paint(lines))
