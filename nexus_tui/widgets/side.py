"""Beside a table, where there is room: the story of the row under the cursor."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_tui.format import Line
from nexus_tui.overview.drawing import shortened
from nexus_tui.widgets.canvas import Canvas
from nexus_tui.wrapping import wrapped

WIDE = 140
"""Columns of the terminal from which on every table has one."""


class Side(Canvas):
    """As much of a story as fits; `enter` on the row shows the rest."""

    def tell(self, story: Sequence[Line]) -> None:
        """Show this one from now on."""
        width, height = self.content_size
        self.say(shortened(wrapped(story, width), height, "enter shows all"))
