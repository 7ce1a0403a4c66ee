"""Servers of this machine are found by themselves, each once, and never this gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from nexus_proxy.config.model import BackendConfig, BackendType, DiscoveryConfig, Zone
from nexus_proxy.discovery import service
from nexus_proxy.discovery.local_ports import WELL_KNOWN, LocalPorts, WellKnown
from nexus_proxy.state import Source
from tests.contract.discovery.world import NODE, discovering, nexus, ollama, only_reads
from tests.support.scripted import ScriptedBackend, faults

LOCAL = DiscoveryConfig(mdns=False, cloud_from_env=False)


async def test_a_server_on_its_usual_port_is_found_and_trusted() -> None:
    async with ollama("qwen3:8b") as server:
        port = WellKnown(server.port, "Ollama")
        async with discovering(LOCAL, ports=[port]) as world:
            await world.heard.until(lambda: world.backends)
            (found,) = world.backends
    assert found.type is BackendType.OLLAMA
    assert found.name == f"ollama-{server.port}"
    assert (found.url, found.version) == (server.url, "0.33.0")
    assert (found.zone, found.accepted, found.source) == (
        Zone.RESTRICTED,
        True,
        Source.LOCAL_PORT,
    )
    assert "usual port of Ollama" in found.origin
    assert only_reads(server)
    assert world.discovery.searching() == (f"127.0.0.1:{server.port} (Ollama)",)


async def test_a_server_that_starts_later_is_found_then() -> None:
    async with ScriptedBackend(owned_by="vllm") as server:
        server.refuse()
        async with discovering(LOCAL, ports=[WellKnown(server.port, "vLLM")]) as world:
            assert world.backends == []
            await server.reopen()
            await world.heard.until(lambda: world.backends)
            assert world.backends[0].type is BackendType.VLLM


async def test_a_web_page_is_not_listed_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "FIRST_RETRY_SECONDS", 0.05)
    async with ScriptedBackend(owned_by="llamacpp") as server:
        server.behave(faults.html, on="probes")
        async with discovering(LOCAL, ports=[WellKnown(server.port, "llama.cpp")]) as world:
            await world.heard.until(lambda: world.heard.notes)
            assert world.backends == []
            assert "a web page answers there" in world.heard.notes[0]
            server.behave(on="probes")
            await world.heard.until(lambda: world.backends)
            assert len(world.heard.notes) == 2


async def test_its_own_port_gets_no_request_at_all() -> None:
    async with ScriptedBackend() as other, ScriptedBackend() as mine:
        ports = [WellKnown(mine.port, "vLLM"), WellKnown(other.port, "vLLM")]
        own = [f"127.0.0.1:{mine.port}"]
        async with discovering(LOCAL, ports=ports, own=own) as world:
            await world.heard.until(lambda: world.backends)
            assert [backend.url for backend in world.backends] == [other.url]
        assert mine.connections == 0


async def test_it_knows_itself_behind_an_address_that_it_was_not_told() -> None:
    async with nexus(NODE) as mirror, ScriptedBackend() as other:
        ports = [WellKnown(mirror.port, "vLLM"), WellKnown(other.port, "vLLM")]
        async with discovering(LOCAL, ports=ports) as world:
            await mirror.until(lambda: len(mirror.requests) >= 2)
            await world.heard.until(lambda: world.backends)
            assert [backend.url for backend in world.backends] == [other.url]
            assert world.discovery.knows(mirror.url)


async def test_another_nexus_is_a_backend_in_the_open_zone() -> None:
    async with (
        nexus("fedcba9876543210") as peer,
        discovering(LOCAL, ports=[WellKnown(peer.port, "vLLM")]) as world,
    ):
        await world.heard.until(lambda: world.backends)
        (found,) = world.backends
    assert found.name == f"nexus-{peer.port}"
    assert (found.type, found.zone) == (BackendType.GENERIC, Zone.OPEN)


async def test_a_gateway_to_clouds_is_not_taken_for_a_place_where_prompts_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with ScriptedBackend() as server:
        monkeypatch.setattr("nexus_proxy.discovery.zones.FORWARDING", {server.port})
        async with discovering(LOCAL, ports=[WellKnown(server.port, "LiteLLM")]) as world:
            await world.heard.until(lambda: world.backends)
            assert world.backends[0].zone is Zone.OPEN


@pytest.mark.parametrize(
    "spelt",
    [
        lambda port: f"http://localhost:{port}/v1/",
        lambda port: f"127.0.0.1:{port}",
        lambda port: f"http://[::1]:{port}",
        lambda port: f"http://127.9.9.9:{port}",
    ],
)
async def test_a_configured_server_is_not_listed_twice(spelt: Callable[[int], str]) -> None:
    async with ScriptedBackend() as configured, ScriptedBackend() as marker:
        entry = BackendConfig(name="mine", url=spelt(configured.port))
        ports = [WellKnown(configured.port, "vLLM"), WellKnown(marker.port, "vLLM")]
        async with discovering(LOCAL, backends=[entry], ports=ports) as world:
            await world.heard.until(lambda: len(world.backends) == 2)
            assert world.names == [f"generic-{marker.port}", "mine"]
        assert configured.connections == 0


async def test_ollama_host_names_a_port() -> None:
    async with ollama("m") as server:
        environ = {"OLLAMA_HOST": f"0.0.0.0:{server.port}"}
        async with discovering(LOCAL, environ=environ) as world:
            await world.heard.until(lambda: world.backends)
            (found,) = world.backends
    assert (found.url, found.origin) == (server.url, "named by OLLAMA_HOST")
    assert (found.accepted, found.source) == (True, Source.LOCAL_PORT)


async def test_an_unreadable_ollama_host_is_a_note() -> None:
    async with discovering(LOCAL, environ={"OLLAMA_HOST": "ftp://box"}) as world:
        await world.heard.until(lambda: world.heard.notes)
        assert world.heard.notes == [
            "OLLAMA_HOST is not used: ftp:// is not served here; use http:// or https://"
        ]


async def test_openai_base_url_on_this_machine_is_a_server_of_this_machine() -> None:
    async with ScriptedBackend(api_key="sk-local") as server:
        environ = {"OPENAI_BASE_URL": f"{server.url}/v1", "OPENAI_API_KEY": "sk-local"}
        async with discovering(LOCAL, environ=environ) as world:
            await world.heard.until(lambda: world.backends)
            (found,) = world.backends
    assert (found.api_key_env, found.type) == ("OPENAI_API_KEY", BackendType.GENERIC)
    assert found.zone is Zone.RESTRICTED
    assert all(request.header("authorization") for request in server.requests)


async def test_what_an_operator_removed_does_not_come_back_by_itself() -> None:
    async with ScriptedBackend() as removed, ScriptedBackend() as later:
        later.refuse()
        ports = [WellKnown(removed.port, "vLLM"), WellKnown(later.port, "vLLM")]
        async with discovering(LOCAL, ports=ports) as world:
            await world.heard.until(lambda: world.backends)
            world.registry.remove(world.backends[0].name)
            await later.reopen()
            await world.heard.until(lambda: world.backends)
            assert [backend.url for backend in world.backends] == [later.url]
            await world.discovery.add_url(removed.url)
            assert len(world.backends) == 2


def test_the_usual_ports_are_looked_at_once_each() -> None:
    places = LocalPorts({}).looking_at()
    assert places[0] == "127.0.0.1:11434 (Ollama)"
    assert len({place.partition(" ")[0] for place in places}) == len(places) == len(WELL_KNOWN)


def test_ollama_host_takes_the_place_of_the_usual_port() -> None:
    places = LocalPorts({"OLLAMA_HOST": "0.0.0.0"}).looking_at()
    assert places[0] == "127.0.0.1:11434 (OLLAMA_HOST)"
    assert len(places) == len(WELL_KNOWN)
