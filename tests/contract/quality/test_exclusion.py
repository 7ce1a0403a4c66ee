"""A backend that fails is left out, tried by a real request, and back; the last one serves on."""

from __future__ import annotations

from typing import Any

from nexus_proxy.quality.exclusion import REST_SECONDS
from nexus_proxy.state import QualityState
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults


async def answered_by(gateway: RunningGateway) -> tuple[str, str]:
    answer = await gateway.chat("m")
    assert answer.status_code == 200
    return answer.headers["x-nexus-backend"], answer.headers["x-nexus-route-reason"]


def state(gateway: RunningGateway, name: str) -> QualityState:
    return next(v.state for v in gateway.runtime.quality.views() if v.backend == name)


async def test_left_out_tried_and_back() -> None:
    async with ScriptedBackend(["m"]) as bad, ScriptedBackend(["m"]) as good:
        entries = [
            backend_entry("bad", bad.url, priority=1),
            backend_entry("good", good.url, priority=90),
        ]
        async with running_gateway(entries) as gateway:
            bad.behave(faults.status(500, "boom"), times=5)
            for _ in range(5):
                assert await answered_by(gateway) == ("good", "failover")
            assert await answered_by(gateway) == ("good", "capability-match")
            assert state(gateway, "bad") is QualityState.EXCLUDED
            gateway.runtime.registry.get("bad").quality["m"].excluded_until -= REST_SECONDS + 1
            assert state(gateway, "bad") is QualityState.HALF_OPEN
            for _ in range(2):
                assert (await answered_by(gateway))[0] == "bad"
            assert state(gateway, "bad") is QualityState.IN_USE


async def test_the_only_one_serves_although_it_fails() -> None:
    async with ScriptedBackend(["m"]) as only, running_gateway([entry(only)]) as gateway:
        only.behave(faults.status(500, "boom"), times=5)
        while state_of_only(gateway) is not QualityState.EXCLUDED:
            await gateway.chat("m")
        for _ in range(2):
            assert (await answered_by(gateway))[0] == "only"


async def test_mistakes_of_callers_count_nowhere() -> None:
    async with ScriptedBackend(["m"]) as only, running_gateway([entry(only)]) as gateway:
        only.behave(faults.status(400, "no"), times=8)
        for _ in range(8):
            assert (await gateway.chat("m")).status_code == 400
        assert gateway.runtime.quality.views() == ()


def entry(only: ScriptedBackend) -> dict[str, Any]:
    return backend_entry("only", only.url)


def state_of_only(gateway: RunningGateway) -> QualityState | None:
    views = gateway.runtime.quality.views()
    return views[0].state if views else None
