"""Who would serve a model now: asked of a running gateway, and of nobody's money."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nexus_proxy.state import Preview
from nexus_tui.source.attached import HttpSource
from nexus_tui.source.in_process import RuntimeSource
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

KEY = {"OPENAI_API_KEY": "sk-test-0123456789"}


async def previews(gateway: RunningGateway, *models: str) -> dict[str, Preview]:
    answer = await gateway.client.post("/nexus/v1/previews", json={"models": models})
    assert answer.status_code == 200
    return msgspec.json.decode(answer.content, type=dict[str, Preview])


async def test_each_step_of_an_operator_moves_the_mark() -> None:
    async with ScriptedBackend(["m", "spare"]) as a, ScriptedBackend(["m"]) as b:
        entries = [backend_entry("a", a.url), backend_entry("b", b.url)]
        routing = {"fallbacks": {"m": ["spare"]}}
        async with running_gateway(entries, routing=routing) as gateway:
            both = (await previews(gateway, "m", "nowhere"))["m"]
            assert sorted(both.first) == [("a", "m"), ("b", "m")]
            await gateway.runtime.run_command("backend.pin", {"backend": "b", "model": "m"})
            assert (await previews(gateway, "m"))["m"] == Preview(first=(("b", "m"),))
            await gateway.runtime.run_command("backend.unpin", {"model": "m"})
            await gateway.runtime.run_command("backend.priority", {"backend": "b", "priority": 90})
            assert (await previews(gateway, "m"))["m"] == Preview(first=(("a", "m"),))
            await gateway.runtime.run_command("backend.drain", {"backend": "a"})
            await gateway.runtime.run_command("backend.drain", {"backend": "b"})
            assert (await previews(gateway, "m", "spare"))["m"] == Preview()


async def test_a_fallback_is_another_model() -> None:
    async with ScriptedBackend(["m"]) as a, ScriptedBackend(["spare"]) as b:
        entries = [backend_entry("a", a.url), backend_entry("b", b.url)]
        routing = {"fallbacks": {"m": ["spare"]}}
        async with running_gateway(entries, routing=routing) as gateway:
            await gateway.runtime.run_command("backend.drain", {"backend": "a"})
            found = await previews(gateway, "m")
            assert found["m"] == Preview(first=(("b", "spare"),), is_fallback=True)


@pytest.mark.parametrize("action", ["warn", "block_cloud"])
async def test_a_spent_budget_counts_and_so_it_does_in_a_dry_run(action: str) -> None:
    budget = {"monthly_limit_usd": 0.0, "hard_limit_action": action}
    async with ScriptedBackend(["gpt-4o"]) as cloud, ScriptedBackend(["m"]) as local:
        paid = backend_entry("cloud", cloud.url, type="openai", api_key_env="OPENAI_API_KEY")
        entries = [paid, backend_entry("local", local.url)]
        async with running_gateway(entries, environ=KEY, routing={"budget": budget}) as gateway:
            found = await previews(gateway, "gpt-4o", "m")
            assert found["m"].first == (("local", "m"),)
            assert bool(found["gpt-4o"].first) is (action == "warn")
            dry = await gateway.client.post("/nexus/v1/route", json={"model": "gpt-4o"})
            (decision,) = dry.json()["decisions"]
            assert bool(decision["candidates"]) is (action == "warn")
            assert (await gateway.chat("gpt-4o")).status_code == (200 if action == "warn" else 402)


@pytest.mark.parametrize("body", [{}, {"models": "m"}, {"models": [1]}, {"model": ["m"]}])
async def test_what_cannot_be_read_is_refused(body: dict[str, Any]) -> None:
    async with running_gateway([], wait_up=False) as gateway:
        answer = await gateway.client.post("/nexus/v1/previews", json=body)
        assert answer.status_code == 400


async def test_a_screen_hears_the_same_here_and_attached() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("a", backend.url)]) as gateway,
    ):
        here = await RuntimeSource(gateway.runtime).previews(["m", "nowhere"])
        there = HttpSource(str(gateway.client.base_url))
        try:
            assert await there.previews(["m", "nowhere"]) == here
        finally:
            await there.close()
        assert here == {"m": Preview(first=(("a", "m"),))}
