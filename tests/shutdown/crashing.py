"""`nexus`, with a bug in a widget: pressing F12 makes the screen raise."""

from __future__ import annotations

from textual import events

from nexus_tui.app import NexusApp
from nexus_tui.main import main


class BuggyError(Exception):
    """The bug."""


async def _on_key(_self: NexusApp, event: events.Key) -> None:
    if event.key == "f12":
        raise BuggyError("a bug in a widget")


NexusApp.on_key = _on_key  # type: ignore[attr-defined]

if __name__ == "__main__":
    main()
