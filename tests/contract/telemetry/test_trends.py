"""What a gateway tells of how its backends did lately."""

from __future__ import annotations

import msgspec

from nexus_proxy.state import Snapshot
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


async def test_a_backend_that_answered_has_a_trend_here_and_over_http() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        ScriptedBackend(["other"]) as idle,
        running_gateway([backend_entry("a", backend.url), backend_entry("b", idle.url)]) as gateway,
    ):
        assert (await gateway.chat("m")).status_code == 200
        gateway.runtime.history.settle()
        trends = gateway.runtime.snapshot().trends
        assert list(trends) == ["a"]
        assert sum(trends["a"].requests) == 1
        assert sum(trends["a"].tokens_per_second) > 0
        answer = await gateway.client.get("/nexus/v1/state")
        assert msgspec.json.decode(answer.content, type=Snapshot).trends == trends
