"""Keys change while the gateway runs: at once for the next request, never for a running one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nexus_proxy.config.load import load
from nexus_proxy.errors import ConfigError
from tests.contract.hot.asking import CHAT, body_for, post
from tests.contract.keys.world import OTHER, SECRET, bearer, key_table
from tests.faults.streams import stream_chat
from tests.support.gateway import RunningGateway, backend_entry, backend_toml, running_gateway
from tests.support.scripted import Answer, ScriptedBackend

HEAD = "[discovery]\nenabled = false\n[health_check]\ninterval_seconds = 0.2\n"


def text(backend: ScriptedBackend, *keys: dict[str, Any], more: str = "") -> str:
    """A file with the backend and these keys."""
    lines = [backend_toml(backend.url)]
    lines += [
        "[[keys]]\n" + "".join(f"{name} = {value!r}\n" for name, value in key.items())
        for key in keys
    ]
    return HEAD + more + "".join(lines)


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend() as one:
        yield one


@pytest.fixture
async def gateway(backend: ScriptedBackend, tmp_path: Path) -> AsyncIterator[RunningGateway]:
    """With the keys `ci`, one request a minute, and `other`."""
    tables = [key_table(requests_per_minute=2), key_table("other", OTHER)]
    path = tmp_path / "nexus.toml"
    path.write_text(text(backend, *tables))
    entries = [backend_entry("one", backend.url)]
    async with running_gateway(entries, path=path, keys=tables) as running:
        running.client.headers.update(bearer())
        yield running


async def status(gateway: RunningGateway, secret: str = SECRET) -> int:
    answer: httpx.Response = await post(gateway, body_for(CHAT), headers=bearer(secret))
    return answer.status_code


@pytest.mark.parametrize("how", ["file", "verb"])
async def test_a_revoked_key_is_refused_at_once_and_its_running_request_finishes(
    gateway: RunningGateway, backend: ScriptedBackend, tmp_path: Path, how: str
) -> None:
    backend.behave(Answer(hold_before=2), times=1)
    running = asyncio.get_running_loop().create_task(stream_chat(gateway))
    await backend.until(lambda: bool(backend.generations))
    path = tmp_path / "nexus.toml"
    if how == "file":
        path.write_text(text(backend, key_table("other", OTHER)))
        await gateway.until(lambda: [k.name for k in gateway.runtime.keyring] == ["other"])
    else:
        await gateway.runtime.run_command("key.revoke", {"key": "ci"})
        assert "'ci'" not in path.read_text()
    assert (await status(gateway), await status(gateway, OTHER)) == (401, 200)
    backend.release()
    seen = await running
    assert (seen.dones, seen.error) == (1, None)
    assert [view.name for view in gateway.runtime.snapshot().keys] == ["other"]
    said = [line.message for line in gateway.runtime.logs.ring.lines]
    assert any("keys.ci: removed" in line for line in said)


async def test_a_reload_gives_nobody_a_new_minute(
    gateway: RunningGateway, backend: ScriptedBackend, tmp_path: Path
) -> None:
    assert [await status(gateway) for _ in range(3)] == [200, 200, 429]
    changed = key_table(requests_per_minute=3, priority="high")
    (tmp_path / "nexus.toml").write_text(text(backend, changed, key_table("other", OTHER)))
    await gateway.runtime.run_command("config.reload", {})
    assert await status(gateway) == 429


async def test_a_key_that_is_added_opens_at_once_over_the_management_api(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    new = "nxs-" + "n" * 43
    entry = key_table("new", new, zone="Internal", tokens_per_minute=5)
    added = await gateway.client.post("/nexus/v1/keys", json=entry)
    assert added.json() == {"key": "new", "file": str(tmp_path / "nexus.toml")}
    assert await status(gateway, new) == 200
    kept = load(str(tmp_path / "nexus.toml"), environ={}).config.keys[-1]
    assert (kept.name, kept.zone, kept.tokens_per_minute) == ("new", "internal", 5)
    again = await gateway.client.post("/nexus/v1/keys", json=entry)
    assert again.status_code == 409
    wrong = await gateway.client.post("/nexus/v1/keys", json={"name": "x", "hash": new})
    assert wrong.status_code == 422
    assert new not in wrong.text


async def test_off_loopback_a_gateway_starts_with_keys_and_closes_without(
    backend: ScriptedBackend, tmp_path: Path
) -> None:
    path = tmp_path / "nexus.toml"
    path.write_text(text(backend, key_table(), more='[server]\nhost = "0.0.0.0"\n'))
    assert load(str(path), environ={}).config.keys
    path.write_text(text(backend, more='[server]\nhost = "0.0.0.0"\n'))
    with pytest.raises(ConfigError, match="nexus keys create"):
        load(str(path), environ={})
    assert load(str(path), environ={}, starting=False).config.keys == []
