"""Overview: in five seconds, my address, who is up, what runs, what it costs, what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from textual.app import ComposeResult
from textual.containers import Vertical

from nexus_tui.overview.first_run import first_run
from nexus_tui.overview.layout import Spot, overview
from nexus_tui.widgets.canvas import Canvas
from nexus_tui.widgets.steady import AROUND_EMPTY, Steady
from nexus_tui.wrapping import wrapped

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp
    from nexus_tui.selection import Selection


class OverviewPane(Vertical, can_focus=True):
    """Nothing to select: each part leads to the tab that tells all of it, by key or click."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.snapshot: Snapshot | None = None
        self._canvas = Canvas(id="overview")
        self._empty = Steady(classes="empty")
        self._spots: list[Spot] = []
        self._has_address = True

    def compose(self) -> ComposeResult:
        yield self._canvas
        yield self._empty

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        self.snapshot = snapshot
        is_new = not snapshot.backends
        self._canvas.display, self._empty.display = not is_new, is_new
        if is_new:
            self._empty.say(wrapped(first_run(snapshot), self.size.width - AROUND_EMPTY))
            return
        width, height = self.size
        if width and height:
            absolute = cast("NexusApp", self.app).shows_clock
            drawing = overview(snapshot, width, height, absolute=absolute)
            self._spots, self._has_address = drawing.spots, drawing.has_address
            self._canvas.say(drawing.lines)

    def on_resize(self) -> None:
        if self.snapshot is not None:
            self.show(self.snapshot)

    async def on_canvas_clicked(self, event: Canvas.Clicked) -> None:
        """To the tab of what was clicked; the address is copied."""
        if event.y == 0 and self._has_address:
            await self.run_action("app.copy_endpoint")
        for spot in self._spots:
            if spot.top <= event.y < spot.bottom and spot.left <= event.x < spot.right:
                await self.run_action(f"screen.pane('{spot.pane}')")
                return

    def selection(self) -> Selection | None:
        """Nothing here is to be acted on by a verb."""
        return None

    def focus_table(self) -> None:
        self.screen.set_focus(self)
