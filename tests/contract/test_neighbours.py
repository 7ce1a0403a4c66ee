"""Two gateways that list each other: each sees what the other has, and neither sees echoes."""

from __future__ import annotations

from contextlib import AsyncExitStack

from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend


async def test_a_model_that_is_gone_does_not_live_on_between_two_gateways() -> None:
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(ScriptedBackend(["m"], name="real"))
        first = await stack.enter_async_context(
            running_gateway([backend_entry("real", backend.url)])
        )
        second = await stack.enter_async_context(
            running_gateway([backend_entry("first", first.url)])
        )
        await first.runtime.run_command("backend.add", {"url": second.url, "name": "second"})
        await second.until(lambda: second.runtime.registry.has_model("m"))
        assert (await second.chat()).headers["x-nexus-backend"] == "first"
        await refresh(first, "second")
        assert [b.name for b in first.runtime.registry.serving("m")] == ["real"]

        backend.models = ["other"]
        await refresh(first, "real")
        await refresh(second, "first")
        await refresh(first, "second")
        for gateway in (first, second):
            assert not gateway.runtime.registry.has_model("m")
            assert gateway.runtime.registry.has_model("other")


async def refresh(gateway: RunningGateway, name: str) -> None:
    await gateway.runtime.run_command("backend.check", {"backend": name})
