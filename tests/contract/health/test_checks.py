"""Health as the thresholds say, over real sockets, and never by a generation."""

from __future__ import annotations

import socket

import pytest

from nexus_proxy.config.model import BackendType, HealthCheckConfig
from nexus_proxy.errors import NotFoundError
from nexus_proxy.health import watch
from nexus_proxy.state import BackendState
from tests.contract.health.world import QUICK, checking
from tests.support.scripted import Exchange, ScriptedBackend, faults

UP, DOWN, LOADING = BackendState.UP, BackendState.DOWN, BackendState.LOADING


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RETRY_SECONDS", 0.05)


async def test_the_first_check_decides_and_brings_the_models() -> None:
    async with ScriptedBackend(["a", "b"]) as server, checking() as world:
        backend = world.add(server.url)
        await world.until(backend, UP)
        assert set(backend.models) == {"a", "b"}
        assert backend.probe_ms is not None
        assert world.registry.has_model("a")


async def test_down_after_exactly_the_failures_that_are_configured() -> None:
    async with ScriptedBackend() as server, checking() as world:
        backend = world.add(server.url)
        await world.until(backend, UP)
        server.behave(faults.status(500), on="probes")
        asked = len(server.requests)
        await world.until(backend, DOWN)
        assert len(server.requests) - asked == QUICK.failure_threshold
        assert backend.reason == "answers HTTP 500 to the question for its models"


async def test_up_again_after_exactly_the_successes_that_are_configured() -> None:
    limits = HealthCheckConfig(interval_seconds=0.05, recovery_threshold=4)
    async with ScriptedBackend(owned_by="vllm") as server, checking(limits) as world:
        server.behave(faults.status(500), on="probes")
        backend = world.add(server.url, type_=BackendType.VLLM)
        await world.until(backend, DOWN)
        answered: list[BackendState] = []

        async def well(exchange: Exchange) -> None:
            if exchange.request.path == "/v1/models":
                answered.append(backend.health)
            model = {"id": "m", "object": "model", "owned_by": "vllm"}
            await exchange.json(200, {"object": "list", "data": [model]})

        server.behave(well, on="probes")
        await world.until(backend, UP)
        # One more question than checks: coming back, it was asked what it is.
        assert answered == [DOWN] * (limits.recovery_threshold + 1)


async def test_a_refused_connection_is_down_at_once() -> None:
    async with ScriptedBackend() as server:
        patient = HealthCheckConfig(interval_seconds=0.05, failure_threshold=50)
        async with checking(patient) as world:
            backend = world.add(server.url)
            await world.until(backend, UP)
            server.refuse()
            server.drop_connections()
            await world.until(backend, DOWN)
            assert backend.reason == "connection refused"


async def test_a_backend_that_comes_back_is_seen_long_before_the_interval() -> None:
    slow = HealthCheckConfig(interval_seconds=3600, timeout_seconds=2)
    async with ScriptedBackend() as server, checking(slow) as world:
        server.refuse()
        backend = world.add(server.url)
        await world.until(backend, DOWN)
        await server.reopen()
        await world.until(backend, UP)


async def test_what_real_traffic_met_is_checked_soon() -> None:
    slow = HealthCheckConfig(interval_seconds=3600, timeout_seconds=2)
    async with ScriptedBackend() as server, checking(slow) as world:
        backend = world.add(server.url)
        await world.until(backend, UP)
        world.registry.mark("box", DOWN, "the relay was refused")
        world.health.suspect("box")
        await world.until(backend, UP)
        assert world.changes() == ["is up", "is down: the relay was refused", "is up"]


async def test_suspicion_does_not_multiply_checks() -> None:
    slow = HealthCheckConfig(interval_seconds=3600, timeout_seconds=2)
    async with ScriptedBackend() as server, checking(slow) as world:
        backend = world.add(server.url)
        await world.until(backend, UP)
        before = len(server.requests)
        for _ in range(100):
            world.health.suspect("box")
        await server.until(lambda: len(server.requests) > before)
        assert await world.health.check("box")
        assert len(server.requests) <= before + 3


async def test_a_hung_backend_is_down_after_its_timeout() -> None:
    limits = HealthCheckConfig(interval_seconds=0.05, timeout_seconds=0.2)
    async with ScriptedBackend() as server, checking(limits) as world:
        server.behave(faults.hang, on="probes")
        backend = world.add(server.url, type_=BackendType.VLLM)
        await world.until(backend, DOWN)
        assert backend.reason == "no answer within 0.2 s"


async def test_silence_while_it_works_for_us_is_no_failure() -> None:
    limits = HealthCheckConfig(interval_seconds=0.05, timeout_seconds=0.1, failure_threshold=1)
    async with ScriptedBackend() as server, checking(limits) as world:
        backend = world.add(server.url)
        await world.until(backend, UP)
        backend.in_flight, backend.answers_while_busy = 1, None
        server.behave(faults.hang, on="probes")
        before = len(server.requests)
        await server.until(lambda: len(server.requests) >= before + 3)
        assert backend.health is UP
        backend.in_flight = 0
        await world.until(backend, DOWN)


async def test_a_loading_model_is_loading_and_then_up() -> None:
    async with (
        ScriptedBackend(headers={"server": "llama.cpp"}, owned_by="llamacpp") as server,
        checking() as world,
    ):
        server.behave(faults.loading, on="probes")
        backend = world.add(server.url, type_=BackendType.LLAMACPP)
        await world.until(backend, LOADING)
        assert backend.reason == "its model is being loaded"
        server.behave(on="probes")
        await world.until(backend, UP)
        assert backend.reason is None


async def test_dead_hosts_do_not_delay_the_others() -> None:
    dead = [_silent_port() for _ in range(20)]
    try:
        slow = HealthCheckConfig(interval_seconds=5, timeout_seconds=30)
        async with ScriptedBackend() as server, checking(slow) as world:
            for number, listener in enumerate(dead):
                port = listener.getsockname()[1]
                world.add(f"http://127.0.0.1:{port}", name=f"dead-{number}")
            backend = world.add(server.url)
            await world.until(backend, UP)
            others = [b for b in world.registry if b is not backend]
            assert {b.health for b in others} == {BackendState.UNKNOWN}
    finally:
        for listener in dead:
            listener.close()


async def test_no_check_ever_generates() -> None:
    kinds = {
        BackendType.GENERIC: "someone",
        BackendType.VLLM: "vllm",
        BackendType.LLAMACPP: "llamacpp",
        BackendType.OPENAI: "openai",
    }
    for type_, owner in kinds.items():
        async with ScriptedBackend(owned_by=owner) as server, checking() as world:
            backend = world.add(server.url, type_=type_)
            await world.until(backend, UP)
            assert "up" in await world.health.check("box")
            assert server.generations == []
            assert {request.method for request in server.requests} == {"GET"}


async def test_a_removed_backend_is_not_asked_again() -> None:
    async with ScriptedBackend() as removed, ScriptedBackend() as kept, checking() as world:
        backend = world.add(removed.url, name="removed")
        await world.until(backend, UP)
        world.registry.remove("removed")
        world.add(kept.url, name="kept")
        asked = len(removed.requests)
        await kept.until(lambda: len(kept.requests) >= 3)
        assert len(removed.requests) <= asked + 1
        with pytest.raises(NotFoundError, match="no backend is called 'removed'"):
            await world.health.check("removed")


async def test_check_says_what_it_found() -> None:
    async with ScriptedBackend(["a"], owned_by="vllm") as server, checking() as world:
        backend = world.add(server.url, type_=BackendType.VLLM)
        assert "box is up: vllm with 1 model, answered in " in await world.health.check("box")
        server.refuse()
        server.drop_connections()
        assert await world.health.check("box") == "box is down: connection refused"
        assert backend.health is DOWN


async def test_without_health_checks_backends_are_up_and_list_their_models() -> None:
    off = HealthCheckConfig(enabled=False)
    async with ScriptedBackend(["a"]) as server, ScriptedBackend() as dead, checking(off) as world:
        dead.refuse()
        absent = world.add(dead.url, name="absent")
        backend = world.add(server.url)
        await world.heard.until(lambda: backend.models)
        assert (backend.health, absent.health) == (UP, UP)
        world.registry.mark("absent", DOWN, "the relay was refused")
        world.health.suspect("absent")
        await world.until(absent, UP)
        await dead.reopen()
        await world.heard.until(lambda: absent.models)


async def test_sleep_of_this_machine_is_forgiven() -> None:
    wall = [1000.0]
    slow = HealthCheckConfig(interval_seconds=3600)
    async with ScriptedBackend() as server, checking(slow, wall=lambda: wall[0]) as world:
        backend = world.add(server.url)
        await world.until(backend, UP)
        asked = len(server.requests)
        wall[0] += 3600.0
        await server.until(lambda: len(server.requests) > asked)
        assert backend.health is UP


def _silent_port() -> socket.socket:
    """Takes connections into its backlog and never answers, as a frozen server does."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)
    return listener
