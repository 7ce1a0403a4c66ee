"""Where Nexus keeps its files, by the platform's own rules."""

from __future__ import annotations

from pathlib import Path

APP = "nexus"
FILE_NAME = "nexus.toml"


def state_file() -> Path:
    """Where spend and quality are kept unless `state.path` says otherwise."""
    from platformdirs import user_data_path

    return user_data_path(APP, appauthor=False) / "nexus.db"


def config_file() -> Path:
    """The user's own configuration file, whether it exists or not."""
    from platformdirs import user_config_path

    return user_config_path(APP, appauthor=False) / FILE_NAME
