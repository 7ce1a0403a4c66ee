"""One scripted backend behind a gateway, and a watch over what tests leave behind."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from nexus_proxy import tasks
from tests.contract.lane.looking import eventually, lane_connections
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as one:
        yield one


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    """When it has stopped, none of its connections and tasks may be left."""
    entries = [backend_entry("one", backend.url)]
    async with running_gateway(entries, server={"max_body_mb": 2}) as running:
        yield running
    assert not lane_connections(running)
    backend.drop_connections()
    await eventually(lambda: not tasks.running())
