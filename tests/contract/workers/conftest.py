"""A backend, and a configuration that names it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.scripted import ScriptedBackend


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m"], name="one") as backend:
        yield backend


@pytest.fixture
def config(tmp_path: Path, backend: ScriptedBackend) -> str:
    path = tmp_path / "nexus.toml"
    path.write_text(f'[[backends]]\nname = "one"\nurl = "{backend.url}"\ntype = "generic"\n')
    return str(path)
