"""Two scripted backends that serve the same model, and a gateway that prefers the first."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


@pytest.fixture
async def first() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="first") as backend:
        yield backend


@pytest.fixture
async def second() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="second") as backend:
        yield backend


@pytest.fixture
def timeouts() -> dict[str, Any]:
    """Clocks short enough for a test; each test may ask for others."""
    return {"first_token_seconds": 1.0, "idle_seconds": 1.0, "load_seconds": 1.0}


@pytest.fixture
async def gateway(
    first: ScriptedBackend, second: ScriptedBackend, timeouts: dict[str, Any]
) -> AsyncIterator[RunningGateway]:
    """`first` is always tried before `second`."""
    entries = [
        backend_entry("first", first.url, priority=1),
        backend_entry("second", second.url, priority=99),
    ]
    async with running_gateway(
        entries, timeouts=timeouts, routing={"strategy": "priority_only"}
    ) as running:
        yield running
