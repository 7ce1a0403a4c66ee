"""A discovery service with a registry and real sockets around it, on ports of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from nexus_proxy.config.model import BackendConfig, Config, DiscoveryConfig
from nexus_proxy.discovery.base import DiscoverySource, Found, Sink
from nexus_proxy.discovery.cloud_env import CloudEnv
from nexus_proxy.discovery.local_ports import LocalPorts, WellKnown
from nexus_proxy.discovery.mdns import MdnsBrowser
from nexus_proxy.discovery.service import Discovery
from nexus_proxy.events import Bus
from nexus_proxy.registry import Backend, Registry
from tests.support.heard import Heard
from tests.support.scripted import ScriptedBackend
from tests.support.scripted.faults import raw

NODE = "0123456789abcdef"
LOOPBACK = ["127.0.0.1"]
QUIET = DiscoveryConfig(local_ports=False, mdns=False, cloud_from_env=False)
DIGEST = "a" * 64


@dataclass
class World:
    config: Config
    registry: Registry
    heard: Heard
    discovery: Discovery

    @property
    def backends(self) -> list[Backend]:
        return list(self.registry)

    @property
    def names(self) -> list[str]:
        return sorted(backend.name for backend in self.registry)

    def reload(self, *, backends: Sequence[BackendConfig]) -> None:
        """What the watcher does when the file was changed."""
        self.config = msgspec.structs.replace(self.config, backends=list(backends))
        self.discovery.apply(self.config)


@asynccontextmanager
async def discovering(
    discovery: DiscoveryConfig = QUIET,
    *,
    backends: Sequence[BackendConfig] = (),
    environ: Mapping[str, str] | None = None,
    ports: Sequence[WellKnown] = (),
    own: Sequence[str] = (),
    sources: Sequence[DiscoverySource] | None = None,
) -> AsyncIterator[World]:
    """A running service. `ports` stand for the well-known ones; `own` are our own addresses."""

    def made(config: DiscoveryConfig, environ: Mapping[str, str]) -> Sequence[DiscoverySource]:
        if sources is not None:
            return sources
        local = [LocalPorts(environ, ports=ports, every=0.05)] if config.local_ports else []
        cloud = [CloudEnv(environ)] if config.cloud_from_env else []
        mdns = [MdnsBrowser(config, interfaces=LOOPBACK)] if config.mdns else []
        return [*local, *cloud, *mdns]

    bus = Bus()
    registry = Registry(bus)
    world: World
    service = Discovery(
        registry,
        bus,
        node_id=NODE,
        get_config=lambda: world.config,
        environ=environ or {},
        make_client=lambda: httpx.AsyncClient(trust_env=False, verify=False),
        sources=made,
    )
    service.own_addresses.update(own)
    config = Config(discovery=discovery, backends=list(backends))
    world = World(config, registry, Heard(bus), service)
    await service.start()
    try:
        yield world
    finally:
        await service.stop()


class Reporting:
    """A source that reports one find and ends."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def looking_at(self) -> tuple[str, ...]:
        return ("here",)

    async def run(self, sink: Sink) -> None:
        sink.report(self._found)


def ollama(*models: str) -> ScriptedBackend:
    """A server that fingerprints as Ollama."""
    tags = {"models": [{"name": model, "model": model, "digest": DIGEST} for model in models]}
    return ScriptedBackend(
        models,
        owned_by="library",
        routes={
            "/": raw(200, b"Ollama is running", "text/plain"),
            "/api/version": {"version": "0.33.0"},
            "/api/tags": tags,
            "/api/ps": {"models": []},
        },
    )


def nexus(node: str) -> ScriptedBackend:
    """A server that says it is the Nexus with this node id."""
    return ScriptedBackend(owned_by="nexus", headers={"x-nexus-node": node})


def only_reads(backend: ScriptedBackend) -> bool:
    """Whether nothing but harmless questions came."""
    return all(request.method == "GET" for request in backend.requests)
