"""No test of this folder may see a configuration of the machine it runs on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_proxy.config.check import check
from nexus_proxy.errors import ConfigError

Checker = Callable[[str], list[ConfigError]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and an empty home."""
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "home" / name.lower()))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def checked(tmp_path: Path) -> Checker:
    """Check a text as the file `nexus.toml`, without any variable."""

    def run(text: str) -> list[ConfigError]:
        path = tmp_path / "nexus.toml"
        path.write_text(text)
        return check(path, {})

    return run
