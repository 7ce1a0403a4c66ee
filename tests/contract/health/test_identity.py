"""Who is asked at all, with which key, and what happens when another server answers."""

from __future__ import annotations

import pytest

from nexus_proxy.config.model import BackendConfig, BackendType, HealthCheckConfig, Zone
from nexus_proxy.health import watch
from nexus_proxy.state import BackendState, Source
from tests.contract.health.world import NODE, World, checking
from tests.support.scripted import ScriptedBackend

UP, DOWN = BackendState.UP, BackendState.DOWN
SECRET = "sk-very-secret-value"


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "RETRY_SECONDS", 0.05)


async def test_another_kind_of_server_on_a_reused_port_is_taken_for_what_it_is() -> None:
    async with ScriptedBackend(owned_by="vllm") as server, checking() as world:
        server.refuse()
        backend = world.add(server.url, type_=BackendType.OLLAMA)
        await world.until(backend, DOWN)
        await server.reopen()
        await world.until(backend, UP)
        assert backend.type is BackendType.VLLM
        assert set(backend.models) == {"m"}


async def test_a_kind_that_is_configured_stays() -> None:
    async with ScriptedBackend(owned_by="vllm") as server:
        entry = BackendConfig(name="box", url=server.url, type=BackendType.GENERIC)
        async with checking(backends=[entry]) as world:
            server.refuse()
            backend = world.add(server.url, source=Source.CONFIG)
            await world.until(backend, DOWN)
            await server.reopen()
            await world.until(backend, UP)
            assert backend.type is BackendType.GENERIC
            assert {request.path for request in server.requests} == {"/v1/models"}


async def test_a_configured_backend_without_a_type_is_asked_what_it_is() -> None:
    async with ScriptedBackend(owned_by="vllm") as server:
        entry = BackendConfig(name="box", url=server.url)
        async with checking(backends=[entry]) as world:
            backend = world.add(server.url, source=Source.CONFIG)
            await world.until(backend, UP)
            assert backend.type is BackendType.VLLM


async def test_this_nexus_on_a_reused_port_is_down_with_the_reason() -> None:
    async with ScriptedBackend(headers={"x-nexus-node": NODE}) as server, checking() as world:
        server.refuse()
        backend = world.add(server.url)
        await world.until(backend, DOWN)
        await server.reopen()
        await world.heard.until(lambda: backend.reason == "this Nexus itself answers there now")
        assert backend.health is DOWN


async def test_another_nexus_on_a_reused_port_is_not_trusted_with_private_prompts() -> None:
    async with ScriptedBackend(headers={"x-nexus-node": "other"}) as server, checking() as world:
        server.refuse()
        backend = world.add(server.url, type_=BackendType.VLLM)
        await world.until(backend, DOWN)
        assert backend.zone is Zone.RESTRICTED
        await server.reopen()
        await world.until(backend, UP)
        assert (backend.type, backend.zone) == (BackendType.GENERIC, Zone.OPEN)


async def test_a_configured_zone_of_another_nexus_stays() -> None:
    async with ScriptedBackend(headers={"x-nexus-node": "other"}) as server:
        entry = BackendConfig(name="box", url=server.url, zone="restricted")
        async with checking(backends=[entry]) as world:
            backend = world.add(server.url, source=Source.CONFIG)
            await world.until(backend, UP)
            assert backend.zone is Zone.RESTRICTED


async def test_a_cloud_is_not_called_before_it_is_accepted() -> None:
    async with (
        ScriptedBackend(api_key=SECRET) as cloud,
        ScriptedBackend() as other,
        checking(environ={"OPENAI_API_KEY": SECRET}) as world,
    ):
        backend = world.add(
            cloud.url,
            type_=BackendType.OPENAI,
            source=Source.ENVIRONMENT,
            accepted=False,
            api_key_env="OPENAI_API_KEY",
        )
        world.add(other.url, name="other")
        world.health.suspect("box")
        assert await world.health.check("box") == (
            "box is not checked: it is not accepted, and gets no request"
        )
        await other.until(lambda: len(other.requests) >= 5)
        assert cloud.connections == 0
        world.registry.accept("box")
        await world.until(backend, UP)
        assert {request.path for request in cloud.requests} == {"/v1/models"}
        assert SECRET not in repr(world.heard.events)


async def test_a_cloud_is_asked_once_a_minute_at_most() -> None:
    async with (
        ScriptedBackend() as cloud,
        ScriptedBackend() as other,
        checking() as world,
    ):
        backend = world.add(cloud.url, type_=BackendType.OPENAI)
        world.add(other.url, name="other")
        await world.until(backend, UP)
        world.health.suspect("box")
        await other.until(lambda: len(other.requests) >= 10)
        assert len(cloud.requests) == 1


async def test_a_cloud_that_cannot_be_reached_is_tried_again_within_seconds() -> None:
    async with ScriptedBackend() as cloud, checking() as world:
        cloud.refuse()
        backend = world.add(cloud.url, type_=BackendType.OPENAI)
        await world.until(backend, DOWN)
        await cloud.reopen()
        await world.until(backend, UP)
        assert len(cloud.requests) == 1


async def test_a_missing_key_is_named_by_its_variable() -> None:
    async with ScriptedBackend(api_key=SECRET) as server, checking() as world:
        backend = world.add(server.url, api_key_env="BOX_KEY")
        await world.until(backend, DOWN)
        assert backend.reason == "BOX_KEY is not set, and its key is read from there"
        assert server.connections == 0


async def test_a_wrong_key_is_never_told() -> None:
    async with (
        ScriptedBackend(api_key="another") as server,
        checking(environ={"BOX_KEY": SECRET}) as world,
    ):
        backend = world.add(server.url, api_key_env="BOX_KEY")
        await world.until(backend, DOWN)
        assert backend.reason == "refuses the API key"
        said = await world.health.check("box")
        assert SECRET not in repr((world.heard.events, backend, said))


async def test_a_disabled_backend_gets_no_request_until_it_is_enabled() -> None:
    async with ScriptedBackend() as server, ScriptedBackend() as other, checking() as world:
        backend = world.add(server.url, enabled=False)
        world.add(other.url, name="other")
        assert await world.health.check("box") == "box is not checked: it is disabled"
        await other.until(lambda: len(other.requests) >= 5)
        assert server.connections == 0
        _enable(world)
        await world.until(backend, UP)


async def test_a_key_that_is_configured_later_is_used_at_once() -> None:
    slow = HealthCheckConfig(interval_seconds=3600)
    async with (
        ScriptedBackend(api_key=SECRET) as server,
        checking(slow, environ={"BOX_KEY": SECRET}) as world,
    ):
        backend = world.add(server.url)
        await world.until(backend, DOWN)
        _enable(world, api_key_env="BOX_KEY")
        await world.until(backend, UP)


def _enable(world: World, *, api_key_env: str | None = None) -> None:
    """What a changed file does."""
    world.registry.configure(
        "box",
        zone=Zone.RESTRICTED,
        tier=1,
        priority=50,
        tags=(),
        enabled=True,
        drained=False,
        max_concurrent=None,
        allow_models=(),
        api_key_env=api_key_env,
    )
