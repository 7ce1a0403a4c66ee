"""Announcements on a real (loopback) multicast network, honest and otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from nexus_proxy.config.model import BackendConfig, DiscoveryConfig, TrustMdns, Zone
from nexus_proxy.discovery import mdns, service
from nexus_proxy.discovery.base import Found
from nexus_proxy.discovery.mdns import MdnsBrowser
from nexus_proxy.events import BackendRemoved
from nexus_proxy.state import BackendState, Source
from nexus_proxy.tasks import spawn
from tests.contract.discovery.announcer import Announcer, announcer
from tests.contract.discovery.world import (
    LOOPBACK,
    Reporting,
    World,
    discovering,
    ollama,
    only_reads,
)
from tests.support.scripted import ScriptedBackend

STRANGER = "10.9.8.7"


async def test_an_announced_server_is_verified_and_listed() -> None:
    async with (
        announcer() as there,
        ollama("m") as server,
        discovering(there.config()) as world,
    ):
        await there.announce(there.service(server.port, txt={"type": "vllm", "name": "Box"}))
        await world.heard.until(lambda: world.backends)
        (found,) = world.backends
    assert found.name == f"ollama-{server.port}"
    assert (found.url, found.source) == (server.url, Source.MDNS)
    assert (found.accepted, found.zone) == (True, Zone.RESTRICTED)
    assert only_reads(server)
    assert "announced as vllm" in world.heard.notes[-1]
    assert world.discovery.searching() == (f"mDNS {there.service_type.removesuffix('.local.')}",)


@pytest.mark.parametrize(
    ("trust", "reported"),
    [(TrustMdns.ASK, {False}), (TrustMdns.ALWAYS, {True}), (TrustMdns.NEVER, set())],
)
async def test_trust_in_other_machines(trust: TrustMdns, reported: set[bool]) -> None:
    async with announcer() as there:
        sink = Reports()
        browser = MdnsBrowser(there.config(trust=trust), interfaces=LOOPBACK)
        browsing = spawn(browser.run(sink), name="browse")
        far = there.service(80, instance="far", addresses=[STRANGER], server="far.local.")
        await there.announce(far)
        await there.announce(there.service(81, instance="near"))
        await sink.until(lambda: any(found.key.startswith("near") for found in sink.found))
        browsing.cancel()
        await asyncio.gather(browsing, return_exceptions=True)
    assert {found.trusted for found in sink.found if found.key == far.name} == reported
    assert all(found.trusted for found in sink.found if found.key.startswith("near"))


async def test_an_untrusted_find_is_listed_without_traffic_until_accepted() -> None:
    async with ScriptedBackend(owned_by="vllm") as server:
        found = Found(
            key="far",
            urls=(server.url,),
            source=Source.MDNS,
            origin="announced over mDNS",
            trusted=False,
        )
        async with discovering(sources=[Reporting(found)]) as world:
            await world.heard.until(lambda: world.backends)
            (backend,) = world.backends
            assert backend.state is BackendState.DISABLED
            assert world.heard.notes[-1].endswith("it gets no traffic until it is accepted")
            assert only_reads(server)


async def test_a_flap_inside_the_grace_period_changes_nothing() -> None:
    async with (
        announcer() as there,
        ollama("m") as server,
        discovering(there.config(grace=30)) as world,
    ):
        await _flap(there, world, server.port)
        assert not any(isinstance(event, BackendRemoved) for event in world.heard.events)
        assert len(world.backends) == 2


async def _flap(there: Announcer, world: World, port: int) -> None:
    """Say goodbye, come back, and wait until a later announcement was heard too."""
    info = there.service(port)
    await there.announce(info)
    await world.heard.until(lambda: world.backends)
    await there.goodbye(info)
    await there.announce(info)
    async with ScriptedBackend() as marker:
        await there.announce(there.service(marker.port, instance="marker"))
        await world.heard.until(lambda: len(world.backends) == 2)


async def test_a_vanished_server_leaves_the_list_after_the_grace_period() -> None:
    async with (
        announcer() as there,
        ollama("m") as server,
        discovering(there.config(grace=0.05)) as world,
    ):
        info = there.service(server.port)
        await there.announce(info)
        await world.heard.until(lambda: world.backends)
        await there.goodbye(info)
        await world.heard.until(lambda: not world.backends)
        assert "no longer announced" in world.heard.notes[-1]
        await there.announce(info)
        await world.heard.until(lambda: world.backends)


async def test_a_configured_server_stays_when_it_is_no_longer_announced() -> None:
    async with announcer() as there, ollama("m") as server, ScriptedBackend() as marker:
        entry = BackendConfig(name="box", url=server.url)
        async with discovering(there.config(grace=0.05), backends=[entry]) as world:
            configured, other = (
                there.service(server.port),
                there.service(marker.port, instance="marker"),
            )
            await there.announce(configured)
            await there.announce(other)
            await world.heard.until(lambda: len(world.backends) == 2)
            await there.goodbye(configured)
            await there.goodbye(other)
            await world.heard.until(lambda: len(world.backends) == 1)
            assert world.names == ["box"]


async def test_one_server_under_two_announcements_is_listed_once() -> None:
    async with (
        announcer() as there,
        ollama("m") as server,
        discovering(there.config(grace=0.05)) as world,
    ):
        first, second = (there.service(server.port, instance=name) for name in ("a", "b"))
        await there.announce(first)
        await world.heard.until(lambda: world.backends)
        await there.announce(second)
        async with ScriptedBackend() as marker:
            other = there.service(marker.port, instance="marker")
            await there.announce(other)
            await world.heard.until(lambda: len(world.backends) == 2)
            await there.goodbye(first)
            await there.goodbye(other)
            await world.heard.until(lambda: len(world.backends) == 1)
        assert world.backends[0].url == server.url
        removed = [e.name for e in world.heard.events if isinstance(e, BackendRemoved)]
        assert removed == [f"generic-{marker.port}"]


async def test_a_changed_address_is_followed() -> None:
    async with (
        announcer() as there,
        ollama("m") as old,
        ollama("m") as new,
        discovering(there.config()) as world,
    ):
        await there.announce(there.service(old.port))
        await world.heard.until(lambda: world.backends)
        await there.update(there.service(new.port))
        await world.heard.until(lambda: [b.url for b in world.backends] == [new.url])


async def test_a_dead_address_does_not_hide_a_good_one() -> None:
    async with (
        announcer() as there,
        ollama("m") as server,
        discovering(there.config()) as world,
    ):
        info = there.service(server.port, addresses=["fe80::1", "::1", "127.0.0.1"])
        await there.announce(info)
        await world.heard.until(lambda: world.backends)
        assert world.backends[0].url == server.url


async def test_a_server_that_is_announced_before_it_runs_is_listed_when_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "FIRST_RETRY_SECONDS", 0.05)
    async with announcer() as there, ollama("m") as server:
        server.refuse()
        async with discovering(there.config()) as world:
            await there.announce(there.service(server.port))
            await world.heard.until(lambda: world.heard.notes)
            assert "connection refused" in world.heard.notes[0]
            await server.reopen()
            await world.heard.until(lambda: world.backends)


async def test_a_network_without_multicast_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_args: Any, **_kwargs: Any) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("zeroconf.asyncio.AsyncZeroconf", refuse)
    monkeypatch.setattr(mdns, "NETWORK_CHECK_SECONDS", 0.01)
    config = DiscoveryConfig(local_ports=False, cloud_from_env=False)
    async with discovering(config) as world:
        await world.heard.until(lambda: world.heard.notes)
        monkeypatch.undo()
    assert len(world.heard.notes) == 1
    assert "mDNS does not work on this network" in world.heard.notes[0]
    assert "nexus backends add URL" in world.heard.notes[0]


async def test_a_service_type_that_is_none_is_a_note() -> None:
    config = DiscoveryConfig(local_ports=False, cloud_from_env=False, service_types=["ollama"])
    async with discovering(config) as world:
        await world.heard.until(lambda: world.heard.notes)
    assert "types look like _ollama._tcp.local." in world.heard.notes[0]


class Reports:
    """A sink that only keeps what it is told."""

    def __init__(self) -> None:
        self.found: list[Found] = []
        self._something = asyncio.Event()

    def report(self, found: Found) -> None:
        self.found.append(found)
        self._something.set()

    def withdraw(self, key: str) -> None:
        raise AssertionError(f"{key} was withdrawn")

    def note(self, sentence: str) -> None:
        raise AssertionError(sentence)

    def knows(self, url: str) -> bool:
        return False

    async def until(self, condition: Callable[[], bool], within: float = 8.0) -> None:
        async with asyncio.timeout(within):
            while not condition():
                self._something.clear()
                await self._something.wait()


async def test_a_flood_of_announcements_is_cut_off_and_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mdns, "SERVICE_LIMIT", 2)
    async with announcer() as there, discovering(there.config()) as world:
        for number in range(5):
            info = there.service(9, instance=f"n{number}", addresses=[STRANGER])
            await there.announce(info)
        told = "more than 2 servers are announced; the rest is left out"
        await world.heard.until(lambda: told in world.heard.notes)
        assert world.heard.notes.count(told) == 1
