"""Everything about one API key, on a screen of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_tui.format import Cell, Line, Moment, count, field, heading, key_zone, left, names, spent
from nexus_tui.safe_text import clean
from nexus_tui.screens.story import StoryScreen

if TYPE_CHECKING:
    from nexus_proxy.state import KeyView, Snapshot


def key_story(view: KeyView, moment: Moment) -> Sequence[Line]:
    """What is known of a key: what it may use, what is left of its limits, what it used."""
    return [
        (Cell(clean(view.name), "strong"),),
        *heading("May use"),
        field("models", Cell(names(view.models, limit=50) if view.models else "all")),
        field("zone", Cell(key_zone(view))),
        field("priority", Cell(view.priority)),
        field("watch", Cell("all that an operator sees" if view.watch else "no")),
        *heading("Left of its limits"),
        field("requests", left(view.requests_left, view.requests_per_minute)),
        field("tokens", left(view.tokens_left, view.tokens_per_minute)),
        field("this month", spent(view)),
        *heading("Used since the gateway started"),
        field("requests", Cell(count(view.requests))),
        field("refused", Cell(count(view.refused), "warn" if view.refused else "")),
        field("tokens", Cell(count(view.tokens))),
        field("last", Cell(moment.ago(view.last_used))),
        (),
        field("revoke with", Cell(f"nexus keys revoke {clean(view.name)}", "info")),
    ]


class KeyDetailScreen(StoryScreen):
    """One API key. Its secret is known to its holder alone."""

    def __init__(self, view: KeyView, snapshot: Snapshot | None) -> None:
        super().__init__()
        self._view = view
        self._gone = False
        self.now = 0.0 if snapshot is None else snapshot.taken_at

    def show(self, snapshot: Snapshot) -> None:
        found = next((one for one in snapshot.keys if one.name == self._view.name), None)
        self._gone = found is None
        self._view = found or self._view
        self.now = snapshot.taken_at
        self.redraw()

    def story(self) -> Sequence[Line]:
        revoked = [(Cell("Revoked. What was known last:", "warn"),), ()] if self._gone else []
        return [*revoked, *key_story(self._view, self.moment)]
