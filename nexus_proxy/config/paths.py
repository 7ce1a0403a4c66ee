"""Where Nexus keeps its files, by the platform's own rules."""

from __future__ import annotations

from pathlib import Path

APP = "nexus"
FILE_NAME = "nexus.toml"


def config_file() -> Path:
    """The user's own configuration file, whether it exists or not."""
    from platformdirs import user_config_path

    return user_config_path(APP, appauthor=False) / FILE_NAME


def data_dir() -> Path:
    """Folder for what Nexus remembers between runs. Not created here."""
    from platformdirs import user_data_path

    return user_data_path(APP, appauthor=False)


def log_file() -> Path:
    """The log that remains readable after the terminal UI is gone. Its folder is not created."""
    from platformdirs import user_log_path

    return user_log_path(APP, appauthor=False) / "nexus.log"
