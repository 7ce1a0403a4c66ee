"""A changed file is applied to the running gateway, and a bad one is refused and shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway, backend_entry, backend_toml, running_gateway
from tests.support.scripted import Answer, ScriptedBackend

PAGE = {"origin": "https://page.example"}
HEAD = """[discovery]
enabled = false
[health_check]
interval_seconds = 0.2
"""


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="one") as backend:
        yield backend


@pytest.fixture
def path(tmp_path: Path, backend: ScriptedBackend) -> Path:
    path = tmp_path / "nexus.toml"
    path.write_text(text(backend))
    return path


@pytest.fixture
async def gateway(backend: ScriptedBackend, path: Path) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("one", backend.url)], path=path) as running:
        yield running


def text(backend: ScriptedBackend, more: str = "") -> str:
    """A file with the one backend, and `more`."""
    return f"{HEAD}{more}{backend_toml(backend.url)}"


async def test_a_change_applies_to_the_next_request_and_spares_the_running_one(
    gateway: RunningGateway, backend: ScriptedBackend, path: Path
) -> None:
    assert (await gateway.client.get("/v1/models", headers=PAGE)).status_code == 403
    assert (await gateway.chat("mine")).status_code == 404
    backend.behave(Answer(hold_before=3), times=1)
    running = asyncio.get_running_loop().create_task(stream_chat(gateway))
    await backend.until(lambda: bool(backend.generations))
    path.write_text(
        text(
            backend,
            '[server]\nport = 1234\nallowed_origins = ["https://page.example"]\n'
            '[routing.aliases]\nmine = "m"\n',
        )
    )
    await gateway.until(lambda: gateway.runtime.registry.aliases == {"mine": "m"})
    assert (await gateway.chat("mine")).status_code == 200
    assert (await gateway.client.get("/v1/models", headers=PAGE)).status_code == 200
    backend.release()
    seen = await running
    assert (seen.text, seen.dones, seen.error) == ("Hello from one.", 1, None)
    said = [line.message for line in gateway.runtime.logs.ring.lines]
    assert any("server.port" in line and "from the next start on" in line for line in said)


async def test_a_bad_file_is_refused_and_shown_and_the_old_one_stays(
    gateway: RunningGateway, backend: ScriptedBackend, path: Path
) -> None:
    path.write_text(text(backend, '[routing]\nstrategi = "random"\n'))
    await gateway.until(lambda: bool(gateway.runtime.snapshot().problems))
    problem = gateway.runtime.snapshot().problems[0]
    assert f"{path}:6" in problem
    assert "strategy" in problem
    assert (await gateway.chat()).status_code == 200
    path.write_text(text(backend))
    await gateway.runtime.run_command("config.reload", {})
    assert not gateway.runtime.snapshot().problems
