"""Lines of cells on Textual's line API: what reads as before is not drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from nexus_tui.format import Line, Tone


class Canvas(Widget):
    """Shows harmless lines, one a row, each at most as wide as it is."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "canvas--strong",
        "canvas--muted",
        "canvas--accent",
        "canvas--good",
        "canvas--warn",
        "canvas--bad",
        "canvas--info",
    }

    class Clicked(Message):
        """A cell was clicked."""

        def __init__(self, x: int, y: int) -> None:
            super().__init__()
            self.x, self.y = x, y

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[Line] = ()

    def say(self, lines: Sequence[Line]) -> None:
        """Show these from now on."""
        before, self._lines = self._lines, lines
        for row in range(max(len(before), len(lines))):
            if before[row : row + 1] != lines[row : row + 1]:
                self.refresh(Region(0, row, self.size.width, 1))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.post_message(self.Clicked(event.x, event.y))

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        line = self._lines[y] if y < len(self._lines) else ()
        segments = [Segment(cell.text, base + self._style(cell.tone)) for cell in line]
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, tone: Tone) -> Style:
        if not tone:
            return Style.null()
        return self.get_component_rich_style(f"canvas--{tone}", partial=True)
