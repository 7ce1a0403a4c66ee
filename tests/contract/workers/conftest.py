"""A backend, and a configuration that names it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import backend_toml
from tests.support.scripted import ScriptedBackend


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m"], name="one") as backend:
        yield backend


@pytest.fixture
def config(tmp_path: Path, backend: ScriptedBackend) -> str:
    path = tmp_path / "nexus.toml"
    path.write_text(backend_toml(backend.url))
    return str(path)
