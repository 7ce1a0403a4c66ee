"""The `[[backends]]` of the file, at start and when it changes."""

from __future__ import annotations

import msgspec
import pytest

from nexus_proxy.config.model import BackendConfig, BackendType, DiscoveryConfig, Zone
from nexus_proxy.discovery.base import Found
from nexus_proxy.discovery.local_ports import WellKnown
from nexus_proxy.events import BackendAdded, BackendRemoved
from nexus_proxy.state import Source
from tests.contract.discovery.world import Reporting, discovering
from tests.support.scripted import ScriptedBackend

BOX = BackendConfig(name="box", url="http://10.9.8.7:8000/v1/", type=BackendType.VLLM)


def changed(**fields: object) -> BackendConfig:
    return msgspec.structs.replace(BOX, **fields)


async def test_all_that_an_entry_says_is_taken_over_at_once() -> None:
    entry = changed(
        priority=3,
        api_key_env="BOX_KEY",
        zone="confidential",
        tier=4,
        max_concurrent=2,
        tags=["gpu"],
        enabled=False,
        drained=True,
        models=["qwen*"],
    )
    async with discovering(backends=[entry]) as world:
        (backend,) = world.backends
    assert (backend.url, backend.address) == ("http://10.9.8.7:8000", "10.9.8.7:8000")
    assert (backend.type, backend.traits.default_port) == (BackendType.VLLM, 8000)
    assert (backend.source, backend.accepted) == (Source.CONFIG, True)
    assert (backend.zone, backend.tier, backend.priority) == (Zone.CONFIDENTIAL, 4, 3)
    assert (backend.slots, backend.tags, backend.allow_models) == (2, ("gpu",), ("qwen*",))
    assert (backend.enabled, backend.drained, backend.api_key_env) == (False, True, "BOX_KEY")


@pytest.mark.parametrize(
    ("url", "type_", "zone"),
    [
        ("http://localhost:8080", None, Zone.RESTRICTED),
        ("http://gpubox:8080", None, Zone.INTERNAL),
        ("https://llm.example.com", None, Zone.OPEN),
        ("http://localhost:8080", BackendType.OPENAI, Zone.OPEN),
    ],
)
async def test_a_zone_that_is_left_out(url: str, type_: BackendType | None, zone: Zone) -> None:
    async with discovering(backends=[BackendConfig(name="a", url=url, type=type_)]) as world:
        assert world.backends[0].zone is zone


async def test_a_reload_adds_removes_and_reconfigures() -> None:
    other = BackendConfig(name="other", url="http://10.9.8.6:8000")
    new = BackendConfig(name="new", url="http://10.9.8.5:8000")
    async with discovering(backends=[BOX, other]) as world:
        box = world.registry.get("box")
        box.in_flight = 1
        world.reload(backends=[changed(priority=1, zone="open"), new])
        assert world.names == ["box", "new"]
        assert world.registry.get("box") is box
        assert (box.priority, box.zone, box.in_flight) == (1, Zone.OPEN, 1)


async def test_a_reload_that_changes_nothing_says_nothing() -> None:
    async with discovering(backends=[BOX]) as world:
        world.heard.events.clear()
        world.reload(backends=[changed()])
        assert world.heard.events == []


async def test_a_new_url_is_a_new_backend_of_the_same_name() -> None:
    async with discovering(backends=[BOX]) as world:
        before = world.registry.get("box")
        world.reload(backends=[changed(url="http://10.9.8.7:9000")])
        after = world.registry.get("box")
        assert after is not before
        assert after.url == "http://10.9.8.7:9000"


async def test_a_new_type_is_taken_over() -> None:
    async with discovering(backends=[BOX]) as world:
        box = world.registry.get("box")
        world.reload(backends=[changed(type=BackendType.LLAMACPP)])
        assert box.type is BackendType.LLAMACPP


async def test_an_entry_for_a_found_backend_accepts_it_and_keeps_its_requests() -> None:
    async with ScriptedBackend(owned_by="vllm") as server:
        found = Found(
            key="far", urls=(server.url,), source=Source.MDNS, origin="announced", trusted=False
        )
        async with discovering(sources=[Reporting(found)]) as world:
            await world.heard.until(lambda: world.backends)
            (backend,) = world.backends
            backend.in_flight = 1
            world.reload(backends=[BackendConfig(name=backend.name, url=server.url)])
            assert world.backends == [backend]
            assert (backend.accepted, backend.enabled, backend.in_flight) == (True, True, 1)
            world.reload(backends=[BackendConfig(name="mine", url=server.url)])
            assert world.names == ["mine"]


async def test_an_entry_that_leaves_the_file_may_be_found_again() -> None:
    local = DiscoveryConfig(mdns=False, cloud_from_env=False)
    async with ScriptedBackend(owned_by="vllm") as server:
        entry = BackendConfig(name="box", url=server.url)
        ports = [WellKnown(server.port, "vLLM")]
        async with discovering(local, backends=[entry], ports=ports) as world:
            world.reload(backends=[])
            assert world.backends == []
            await world.heard.until(lambda: world.backends)
            assert world.names == [f"vllm-{server.port}"]


async def test_two_entries_for_one_server_are_one_backend_and_a_note() -> None:
    twin = BackendConfig(name="twin", url="http://localhost:8000")
    first = BackendConfig(name="first", url="http://127.0.0.1:8000")
    async with discovering(backends=[first, twin]) as world:
        assert world.names == ["first"]
        (note,) = world.heard.notes
        assert note.startswith("the configured backend 'twin' is not listed: ")
        assert note.endswith("http://localhost:8000 is the configured backend 'first' already")
        world.reload(backends=[twin])
        assert world.names == ["twin"]


async def test_an_entry_that_cannot_be_a_backend_is_a_note() -> None:
    entry = BackendConfig(name="bad", url="http://169.254.169.254/")
    async with discovering(backends=[entry, BOX]) as world:
        assert world.names == ["box"]
        assert world.heard.notes[0].startswith("the configured backend 'bad' is not listed: ")


async def test_discovery_may_be_switched_off_and_on_while_running() -> None:
    async with ScriptedBackend(owned_by="vllm") as server:
        ports = [WellKnown(server.port, "vLLM")]
        off = DiscoveryConfig(local_ports=False, mdns=False, cloud_from_env=False)
        async with discovering(off, ports=ports) as world:
            assert world.discovery.searching() == ()
            on = DiscoveryConfig(mdns=False, cloud_from_env=False)
            world.config = msgspec.structs.replace(world.config, discovery=on)
            world.discovery.apply(world.config)
            await world.heard.until(lambda: world.backends)
            world.config = msgspec.structs.replace(world.config, discovery=off)
            world.discovery.apply(world.config)
            assert world.names == [f"vllm-{server.port}"]
            added = [event for event in world.heard.events if isinstance(event, BackendAdded)]
            gone = [event for event in world.heard.events if isinstance(event, BackendRemoved)]
            assert (len(added), len(gone)) == (1, 0)
