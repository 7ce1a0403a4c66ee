"""Where Nexus keeps its files, by the platform's own rules."""

from __future__ import annotations

from pathlib import Path

APP = "nexus"
FILE_NAME = "nexus.toml"


def config_file() -> Path:
    """The user's own configuration file, whether it exists or not."""
    from platformdirs import user_config_path

    return user_config_path(APP, appauthor=False) / FILE_NAME
