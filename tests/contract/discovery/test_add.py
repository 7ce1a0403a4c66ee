"""Adding a URL by hand: what is refused, and with which words."""

from __future__ import annotations

import pytest

from nexus_proxy.config.model import BackendConfig, BackendType, Zone
from nexus_proxy.discovery.base import Found
from nexus_proxy.errors import CommandError
from nexus_proxy.state import Source
from tests.contract.discovery.world import (
    NODE,
    Reporting,
    discovering,
    nexus,
    ollama,
    only_reads,
)
from tests.support.scripted import ScriptedBackend, faults


async def test_a_url_as_people_paste_it() -> None:
    async with ollama("m") as server, discovering() as world:
        name = await world.discovery.add_url(f"localhost:{server.port}/v1/")
        backend = world.registry.get(name)
        assert (name, backend.type) == (f"ollama-{server.port}", BackendType.OLLAMA)
        assert (backend.source, backend.accepted) == (Source.OPERATOR, True)
        assert (backend.zone, backend.origin) == (Zone.RESTRICTED, "added by hand")
        assert only_reads(server)


async def test_name_zone_and_source_are_as_wished() -> None:
    async with ScriptedBackend() as server, discovering() as world:
        name = await world.discovery.add_url(
            server.url, name="demo", zone=Zone.OPEN, source=Source.DEMO
        )
        backend = world.registry.get(name)
        assert (backend.name, backend.zone, backend.source) == ("demo", Zone.OPEN, Source.DEMO)


async def test_a_type_that_is_given_is_believed_and_not_asked() -> None:
    async with ScriptedBackend() as server, discovering() as world:
        name = await world.discovery.add_url(server.url, type_=BackendType.LLAMACPP)
        assert world.registry.get(name).type is BackendType.LLAMACPP
        assert server.connections == 0


async def test_names_that_are_taken_are_numbered() -> None:
    async with ScriptedBackend() as server, discovering() as world:
        taken = f"generic-{server.port}"
        world.reload(backends=[BackendConfig(name=taken, url="http://10.9.8.7:1")])
        assert await world.discovery.add_url(server.url) == f"{taken}-2"


async def test_nothing_answers() -> None:
    async with ScriptedBackend() as server, discovering() as world:
        server.refuse()
        with pytest.raises(CommandError, match=f"{server.url}: connection refused"):
            await world.discovery.add_url(server.url)
        assert world.backends == []


async def test_what_answers_is_no_llm_server() -> None:
    async with ScriptedBackend() as server, discovering() as world:
        server.behave(faults.html, on="probes")
        with pytest.raises(CommandError, match="a web page answers there, not an LLM server"):
            await world.discovery.add_url(server.url)


async def test_this_nexus_itself() -> None:
    async with nexus(NODE) as mirror, ScriptedBackend() as mine:
        async with discovering(own=[f"127.0.0.1:{mine.port}"]) as world:
            for url in (mirror.url, mine.url, f"http://localhost:{mine.port}/v1"):
                with pytest.raises(CommandError, match="is this Nexus itself"):
                    await world.discovery.add_url(url)
        assert mine.connections == 0


async def test_another_nexus_is_open_unless_a_zone_is_given() -> None:
    async with nexus("other") as peer, discovering() as world:
        name = await world.discovery.add_url(peer.url)
        assert name == f"nexus-{peer.port}"
        assert world.registry.get(name).zone is Zone.OPEN


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "0.0.0.0"])
async def test_a_second_address_of_a_listed_server(host: str) -> None:
    async with ScriptedBackend() as server, discovering() as world:
        await world.discovery.add_url(server.url, name="first")
        with pytest.raises(CommandError, match="is the backend 'first' already"):
            await world.discovery.add_url(f"http://{host}:{server.port}")


async def test_a_second_address_of_one_that_waits_to_be_accepted() -> None:
    async with ScriptedBackend() as server:
        found = Found(
            key="far", urls=(server.url,), source=Source.MDNS, origin="announced", trusted=False
        )
        async with discovering(sources=[Reporting(found)]) as world:
            await world.heard.until(lambda: world.backends)
            with pytest.raises(CommandError, match="accept it to give it traffic"):
                await world.discovery.add_url(server.url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "the address is empty"),
        ("http://", "names no host"),
        ("ftp://box", "use http:// or https://"),
        ("http://user:secret@box", "give keys by api_key_env"),
        ("http://169.254.169.254", "never a backend"),
    ],
)
async def test_what_is_no_address(url: str, words: str) -> None:
    async with discovering() as world:
        with pytest.raises(CommandError, match=words):
            await world.discovery.add_url(url)


@pytest.mark.parametrize("name", ["a/b", "", "x" * 65, "[red]", "-x", "a b", "ü"])
async def test_what_is_no_name(name: str) -> None:
    async with ScriptedBackend() as server, discovering() as world:
        with pytest.raises(CommandError, match="cannot be a backend's name"):
            await world.discovery.add_url(server.url, name=name)
        assert server.connections == 0


async def test_openais_own_address_gets_openais_own_key_and_no_other_does() -> None:
    environ = {"OPENAI_API_KEY": "sk-very-secret-value"}
    async with ScriptedBackend() as server, discovering(environ=environ) as world:
        openai = world.registry.get(
            await world.discovery.add_url("https://api.openai.com/v1", type_=BackendType.OPENAI)
        )
        other = world.registry.get(await world.discovery.add_url(server.url))
        assert (openai.api_key_env, other.api_key_env) == ("OPENAI_API_KEY", None)
        assert all(request.header("authorization") is None for request in server.requests)


async def test_a_server_that_wants_a_key_is_listed_and_says_what_to_do() -> None:
    async with ScriptedBackend(api_key="k") as server, discovering() as world:
        await world.discovery.add_url(server.url)
        assert "name the variable that holds it as api_key_env" in world.heard.notes[-1]
