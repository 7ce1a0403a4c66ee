"""A model that is merely busy is waited for, before another one is taken for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import CHAT, body_for, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway, until
from tests.support.scripted import Answer, ScriptedBackend, faults


@asynccontextmanager
async def busy_with_a_fallback(
    queue: dict[str, Any] | None = None,
) -> AsyncIterator[tuple[RunningGateway, ScriptedBackend, ScriptedBackend]]:
    """`home` has one slot, which is taken, for `m`; `away` has `other`, which `m` falls back to."""
    async with ScriptedBackend(name="home") as home, ScriptedBackend(models=["other"]) as away:
        home.behave(Answer(hold_before="headers"))
        entries = [
            backend_entry("home", home.url, max_concurrent=1),
            backend_entry("away", away.url),
        ]
        routing = {"fallbacks": {"m": ["other"]}}
        async with running_gateway(entries, routing=routing, queue=queue or {}) as gateway:
            running = spawn(post(gateway, body_for(CHAT)), name="client")
            await home.until(lambda: home.in_flight == 1)
            yield gateway, home, away
            home.release()
            await running


async def test_a_busy_model_is_waited_for() -> None:
    async with busy_with_a_fallback() as (gateway, home, away):
        second = spawn(post(gateway, body_for(CHAT)), name="client")
        admission = gateway.runtime.admission
        await until(gateway.runtime.bus, lambda: len(admission.waiting()) == 1)
        home.release()
        assert (await second).headers["x-nexus-backend"] == "home"
        assert away.generations == []


@pytest.mark.parametrize("queue", [{"max_wait_seconds": 0.1}, {"enabled": False}])
async def test_the_fallback_serves_who_waited_in_vain_or_cannot_wait(queue: dict[str, Any]) -> None:
    async with busy_with_a_fallback(queue) as (gateway, _, _away):
        answer = await post(gateway, body_for(CHAT))
        assert answer.status_code == 200
        assert answer.headers["x-nexus-fallback-model"] == "other"
        assert answer.headers["x-nexus-route-reason"] == "fallback"


async def test_a_backend_that_leaves_meanwhile_is_no_reason_to_wait_longer() -> None:
    async with busy_with_a_fallback() as (gateway, _, _away):
        second = spawn(post(gateway, body_for(CHAT)), name="client")
        admission = gateway.runtime.admission
        await until(gateway.runtime.bus, lambda: len(admission.waiting()) == 1)
        gateway.runtime.registry.set_drained("home", True)
        assert (await second).headers["x-nexus-fallback-model"] == "other"


async def test_where_the_fallback_fails_too_the_wait_is_told() -> None:
    async with busy_with_a_fallback({"max_wait_seconds": 0.1}) as (gateway, _, away):
        away.behave(faults.status(500, "the runner has crashed"))
        error_of(await post(gateway, body_for(CHAT)), 503, "queue_timeout")


async def test_a_strict_request_only_waits() -> None:
    async with busy_with_a_fallback({"max_wait_seconds": 0.1}) as (gateway, _, away):
        answer = await post(gateway, body_for(CHAT), headers={"x-nexus-strict": "true"})
        error_of(answer, 503, "queue_timeout")
        assert away.generations == []
