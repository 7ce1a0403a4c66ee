"""What a person chose for the screen, kept from run to run in the user's state folder.

It is no part of the configuration: it is about one terminal, not about the gateway.
"""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
from msgspec import Struct

from nexus_tui.themes import DARK, THEMES

log = logging.getLogger(__name__)


class Choices(Struct, frozen=True):
    """The file as it stands; what it does not say is as it is by default."""

    theme: str = DARK.name


def choices_file() -> Path:
    """Where they are kept, by the platform's own rules."""
    from platformdirs import user_state_path

    from nexus_proxy.config.paths import APP

    return user_state_path(APP, appauthor=False) / "screen.json"


def remembered_theme() -> str:
    """The theme that was chosen last; the default where none was, or none that there is."""
    try:
        chosen = msgspec.json.decode(choices_file().read_bytes(), type=Choices).theme
    except FileNotFoundError:
        return DARK.name
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("the chosen theme is not known any more: %s", error)
        return DARK.name
    return chosen if chosen in {theme.name for theme in THEMES} else DARK.name


def remember_theme(name: str) -> None:
    """Keep the choice. Where that fails it holds for this run, and the log says why."""
    path = choices_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(Choices(theme=name)))
    except OSError as error:
        log.warning("the theme is not kept for the next run: %s", error)
