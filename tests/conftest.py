"""What all tests share: the loop that the product runs on, and a machine without surprises."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop
from hypothesis import settings

pytest_plugins = ["tests.support.llama"]

# How long an example takes says something of the machine, not of the code.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """uvloop, as `nexus` itself: it differs from asyncio in what it takes and forgives."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _no_surprises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, proxy, setting or configuration of the developer's own leaks into a test."""
    for name in tuple(os.environ):
        if name.startswith(("NEXUS_", "OLLAMA_")) or name.upper().endswith(("_API_KEY", "_PROXY")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
