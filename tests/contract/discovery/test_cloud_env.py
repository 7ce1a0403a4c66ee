"""Keys in the environment make rows, not requests."""

from __future__ import annotations

from nexus_proxy.config.model import BackendConfig, BackendType, DiscoveryConfig, Zone
from nexus_proxy.state import BackendState, Source
from tests.contract.discovery.world import discovering

CLOUD = DiscoveryConfig(local_ports=False, mdns=False)
SECRET = "sk-very-secret-value"


async def test_an_openai_key_is_listed_disabled_by_the_name_of_its_variable() -> None:
    async with discovering(CLOUD, environ={"OPENAI_API_KEY": SECRET}) as world:
        await world.heard.until(lambda: world.backends)
        (found,) = world.backends
        assert world.discovery.searching() == (
            "OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, GOOGLE_API_KEY in the environment",
        )
    assert (found.name, found.url) == ("openai", "https://api.openai.com")
    assert (found.type, found.source) == (BackendType.OPENAI, Source.ENVIRONMENT)
    assert (found.state, found.zone) == (BackendState.DISABLED, Zone.OPEN)
    assert found.api_key_env == "OPENAI_API_KEY"
    assert SECRET not in repr((found, world.heard.events, world.registry.views()))


async def test_another_host_of_openais_dialect_is_honoured() -> None:
    environ = {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": "https://openrouter.ai/api/v1"}
    async with discovering(CLOUD, environ=environ) as world:
        await world.heard.until(lambda: world.backends)
        assert world.backends[0].url == "https://openrouter.ai/api"
        assert world.backends[0].zone is Zone.OPEN


async def test_a_key_for_a_server_of_this_machine_makes_no_cloud() -> None:
    environ = {"OPENAI_API_KEY": SECRET, "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    async with discovering(CLOUD, environ=environ) as world:
        await world.heard.until(lambda: world.heard.notes)
        (note,) = world.heard.notes
        assert note.startswith("OPENAI_BASE_URL points at http://127.0.0.1:9: ")
        assert note.endswith("OPENAI_API_KEY is that server's key, and makes no cloud backend")
        assert world.backends == []


async def test_a_public_ollama_is_listed_and_not_asked() -> None:
    async with discovering(CLOUD, environ={"OLLAMA_HOST": "https://ollama.invalid"}) as world:
        await world.heard.until(lambda: world.backends)
        (found,) = world.backends
        assert (found.type, found.zone) == (BackendType.OLLAMA, Zone.OPEN)
        assert found.state is BackendState.DISABLED


async def test_a_gemini_key_is_listed_disabled_by_either_name() -> None:
    for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        async with discovering(CLOUD, environ={variable: SECRET}) as world:
            await world.heard.until(lambda: world.backends)
            (found,) = world.backends
        assert (found.name, found.type) == ("google", BackendType.GOOGLE)
        assert found.url == "https://generativelanguage.googleapis.com"
        assert (found.state, found.api_key_env) == (BackendState.DISABLED, variable)


async def test_an_anthropic_key_is_listed_disabled_and_one_for_this_machine_is_not() -> None:
    async with discovering(CLOUD, environ={"ANTHROPIC_API_KEY": SECRET}) as world:
        await world.heard.until(lambda: world.backends)
        (found,) = world.backends
    assert (found.name, found.url) == ("anthropic", "https://api.anthropic.com")
    assert (found.type, found.api_key_env) == (BackendType.ANTHROPIC, "ANTHROPIC_API_KEY")
    assert (found.state, found.zone) == (BackendState.DISABLED, Zone.OPEN)
    # As Claude Code's users set it, whose address is Nexus itself.
    environ = {"ANTHROPIC_API_KEY": SECRET, "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    async with discovering(CLOUD, environ=environ) as world:
        await world.heard.until(lambda: world.heard.notes)
        assert world.backends == []


async def test_a_configured_cloud_is_not_listed_twice() -> None:
    entry = BackendConfig(
        name="openai",
        url="https://api.openai.com/v1",
        type=BackendType.OPENAI,
        api_key_env="OPENAI_API_KEY",
    )
    environ = {"OPENAI_API_KEY": SECRET, "GEMINI_API_KEY": SECRET}
    async with discovering(CLOUD, backends=[entry], environ=environ) as world:
        await world.heard.until(lambda: len(world.names) == 2)
        assert sorted(world.names) == ["google", "openai"]
        assert [one.name for one in world.backends if one.accepted] == ["openai"]
