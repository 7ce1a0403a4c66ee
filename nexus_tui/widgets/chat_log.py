"""What was said, on Textual's line API: a stream costs the rows that it adds, and no markup."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from nexus_tui.flow import Flow
from nexus_tui.format import Tone

_MARGIN = 1
_SETTLE_SECONDS = 0.1
"""After the last change of the width: in a resize storm only the last one breaks rows anew."""


class ChatLog(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows of a `Flow`; stays at the end unless the user scrolled up."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_rows(-1)", "Up", show=False, tooltip="One row up"),
        Binding("down,j", "scroll_rows(1)", "Down", show=False, tooltip="One row down"),
        Binding("pageup", "page_up", "Page up", show=False, tooltip="One page up"),
        Binding("pagedown", "page_down", "Page down", show=False, tooltip="One page down"),
        Binding("home,g", "scroll_home", "First", show=False, tooltip="To the beginning"),
        Binding("end,G", "scroll_end", "Last", show=False, tooltip="To the end"),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "chat-log--strong",
        "chat-log--muted",
        "chat-log--accent",
        "chat-log--warn",
        "chat-log--bad",
        "chat-log--info",
    }

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._flow = Flow(1)
        self._waits = False

    def add(self, text: str, tone: Tone = "") -> None:
        """Go on with what is being said."""
        following = self._is_at_end
        self._flow.add(text, tone)
        self._grown(following)

    def line(self, text: str, tone: Tone = "") -> None:
        """Say something in rows of its own."""
        following = self._is_at_end
        self._flow.line(text, tone)
        self._grown(following)

    def clear(self) -> None:
        """Forget all of it."""
        self._flow.clear()
        self._grown(True)

    @property
    def _is_at_end(self) -> bool:
        return self.scroll_offset.y >= self.max_scroll_y

    def _grown(self, following: bool) -> None:
        self.virtual_size = Size(self.size.width, len(self._flow.rows))
        if following:
            self.scroll_end(animate=False, immediate=True, force=True)
        self.refresh()

    def on_resize(self) -> None:
        if self._flow.width != self._width and not self._waits:
            self._waits = True
            self.set_timer(_SETTLE_SECONDS, self._break_anew)

    @property
    def _width(self) -> int:
        return max(1, self.size.width - 2 * _MARGIN)

    def _break_anew(self) -> None:
        self._waits = False
        following = self._is_at_end
        self._flow.reflow(self._width)
        self._grown(following)

    def action_scroll_rows(self, rows: int) -> None:
        self.scroll_relative(y=rows, animate=False, immediate=True)

    def render_line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        row = self.scroll_offset.y + y
        if row >= len(self._flow.rows):
            return Strip.blank(width, base)
        text, tone = self._flow.rows[row]
        style = base
        if tone:
            style += self.get_component_rich_style(f"chat-log--{tone}", partial=True)
        segments = [Segment(" " * _MARGIN, base), Segment(text, style)]
        return Strip(segments).adjust_cell_length(width, base)
