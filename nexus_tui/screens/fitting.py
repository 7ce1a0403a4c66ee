"""A screen that is drawn for the size that the terminal has, and not for one that it had."""

from __future__ import annotations

from typing import Any

from textual.events import Resize
from textual.screen import Screen


def fit(screen: Screen[Any], event: Resize) -> None:
    """Lay `screen` out again if it just was for another size than the terminal has.

    Textual tells a screen that it was resized once more after each layout. Where the terminal was
    resized meanwhile, that word of the old size comes last and takes the place of the new one.
    """
    if event.size != screen.app.size:
        screen.post_message(Resize(screen.app.size, screen.app.size))
