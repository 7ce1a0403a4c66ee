"""A full screen that tells everything about one thing and keeps telling while it changes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import Static

from nexus_tui.format import Line, Moment
from nexus_tui.screens.fitting import fit
from nexus_tui.themes import paint
from nexus_tui.widgets.key_line import KeyLine
from nexus_tui.wrapping import wrapped

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp


AROUND = 5
"""Columns that are not the story's, as the style sheet has it."""


class StoryScreen(Screen[None]):
    """Shows `story()`; scrolls; any way back closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,backspace", "dismiss", "Back", key_display="esc", tooltip="Close"),
        Binding("down,j", "scroll(1)", "Down", show=False, tooltip="One line down"),
        Binding("up,k", "scroll(-1)", "Up", show=False, tooltip="One line up"),
        Binding("pagedown,space", "page(1)", "Page down", show=False, tooltip="One page down"),
        Binding("pageup", "page(-1)", "Page up", show=False, tooltip="One page up"),
        Binding("home,g", "top", "Top", show=False, tooltip="To the beginning"),
        Binding("end,G", "bottom", "Bottom", show=False, tooltip="To the end"),
    ]

    def __init__(self) -> None:
        super().__init__(classes="story")
        self._body = Static(id="story")
        self._keys = KeyLine()
        self._drawn: Content | None = None
        self.now = 0.0

    @property
    def moment(self) -> Moment:
        """The present as of the last snapshot, and how times are told."""
        return Moment(self.now, cast("NexusApp", self.app).shows_clock)

    @property
    def width(self) -> int:
        """Cells of a line; before the first layout, what padding and scroll bar will leave."""
        return self._body.size.width or self.size.width - AROUND

    @abstractmethod
    def story(self) -> Sequence[Line]:
        """All there is to tell, line by line."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield self._body
        yield self._keys

    def on_mount(self) -> None:
        self.redraw()

    def on_resize(self, event: Resize) -> None:
        fit(self, event)
        self.call_after_refresh(self.redraw)

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment; a story that does not change may ignore it."""

    def redraw(self) -> None:
        """Draw the story again if it reads differently now."""
        content = paint(wrapped(self.story(), self.width))
        if self._drawn is None or not content.is_same(self._drawn):
            self._drawn = content
            self._body.update(content)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        area = self.query_one(VerticalScroll)
        area.scroll_relative(y=pages * max(1, area.size.height - 1), animate=False)

    def action_top(self) -> None:
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_bottom(self) -> None:
        self.query_one(VerticalScroll).scroll_end(animate=False)
