"""Looking at a running app as a person does: at its text, its toasts, its focus."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual import events
from textual.pilot import Pilot

from nexus_proxy.state import Snapshot
from nexus_tui.app import Leave, NexusApp
from nexus_tui.screens.dashboard import Dashboard
from nexus_tui.widgets.table_pane import TablePane
from tests.tui.scripted import ScriptedSource

PATIENCE = 10.0


class Looking:
    """An app under test."""

    def __init__(self, pilot: Pilot[Leave], app: NexusApp, source: ScriptedSource) -> None:
        self.pilot = pilot
        self.app = app
        self.source = source

    @property
    def text(self) -> str:
        """All that is on the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    @property
    def picture(self) -> str:
        """The screen as SVG, without the number of its contents that Rich writes all over it."""
        return re.sub(r"terminal-\d+-", "terminal-", self.app.export_screenshot(simplify=True))

    @property
    def toasts(self) -> list[str]:
        return [toast.message for toast in self.app._notifications]

    @property
    def dashboard(self) -> Dashboard:
        dashboard = self.app.screen_stack[0]
        assert isinstance(dashboard, Dashboard)
        return dashboard

    @property
    def pane(self) -> TablePane[Any]:
        pane = self.dashboard.pane
        assert isinstance(pane, TablePane)
        return pane

    @property
    def selected(self) -> str | None:
        """The key of the row under the cursor."""
        row = self.pane.table.selected
        return None if row is None else self.pane.key(row)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Paste into what has the focus."""
        self.app.screen.post_message(events.Paste(text))
        await self.pilot.pause()

    async def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size, and wait until all is drawn in it."""
        await self.pilot.resize_terminal(columns, rows)
        await self.until(lambda: self.app.screen.size == (columns, rows))
        await self.pilot.pause()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds; fails after `PATIENCE` with what is on the screen."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await self.pilot.pause(0.01)
        except TimeoutError:
            raise AssertionError(f"did not happen; toasts {self.toasts}\n{self.text}") from None

    async def sees(self, *words: str) -> None:
        """Wait until all of these are on the screen."""
        await self.until(lambda: all(word in self.text for word in words))

    async def told(self, words: str) -> None:
        """Wait for a toast that says this."""
        await self.until(lambda: any(words in toast for toast in self.toasts))

    async def change(self, snapshot: Snapshot) -> None:
        """Let the gateway change, and wait until that is drawn."""
        self.source.change(snapshot)
        await self.until(lambda: self.dashboard.snapshot is snapshot)


@asynccontextmanager
async def looking(
    source: ScriptedSource | None = None,
    *,
    size: tuple[int, int] = (100, 30),
    tab: str = "backends",
) -> AsyncIterator[Looking]:
    """Run the app over `source` in a terminal of `size`, and go to a tab."""
    source = source or ScriptedSource()
    app = NexusApp(source)
    async with app.run_test(size=size, notifications=True) as pilot:
        look = Looking(pilot, app, source)
        await look.until(lambda: look.dashboard.snapshot is not None)
        look.dashboard.action_pane(tab)
        await look.until(lambda: look.dashboard.pane is look.dashboard.panes[tab])
        await pilot.pause()
        yield look
