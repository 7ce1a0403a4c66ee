"""Everything about one backend, on a screen of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_tui.format import Cell, Line
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen
from nexus_tui.selection import Selection
from nexus_tui.widgets.backend_detail import backend_story

if TYPE_CHECKING:
    from nexus_proxy.state import BackendView, Snapshot


class BackendDetailScreen(StoryScreen):
    """One backend, full screen. The verbs work here too."""

    def __init__(self, name: str, snapshot: Snapshot | None) -> None:
        super().__init__()
        self._backend = name
        self._view: BackendView | None = None
        self._snapshot = snapshot
        self._gone = False
        if snapshot is not None:
            self._take(snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        found = next((one for one in snapshot.backends if one.name == self._backend), None)
        self._gone = found is None
        self._view = found or self._view
        self._snapshot = snapshot

    def show(self, snapshot: Snapshot) -> None:
        self._take(snapshot)
        self.redraw()

    def story(self) -> Sequence[Line]:
        if self._view is None or self._snapshot is None:
            return [(Cell(f"{clean(self._backend)} is not listed."),)]
        gone: list[Line] = [(Cell("No longer listed. What was known last:", "warn"),), ()]
        return [*(gone if self._gone else ()), *backend_story(self._view, self._snapshot)]

    def selection(self) -> Selection:
        return Selection() if self._gone else Selection(backend=self._backend)
