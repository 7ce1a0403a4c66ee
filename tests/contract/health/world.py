"""A health checker with a registry, real sockets and small durations."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.address import canonical
from nexus_proxy.config.model import (
    BackendConfig,
    BackendType,
    Config,
    HealthCheckConfig,
    Zone,
)
from nexus_proxy.events import BackendChanged, Bus
from nexus_proxy.health.checker import HealthChecker
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import BackendState, Source
from tests.support.heard import Heard

NODE = "0123456789abcdef"
QUICK = HealthCheckConfig(interval_seconds=0.05, timeout_seconds=2.0)


@dataclass
class World:
    config: Config
    bus: Bus
    registry: Registry
    heard: Heard
    health: HealthChecker

    def add(
        self,
        url: str,
        *,
        name: str = "box",
        type_: BackendType = BackendType.GENERIC,
        source: Source = Source.OPERATOR,
        accepted: bool = True,
        enabled: bool = True,
        api_key_env: str | None = None,
    ) -> Backend:
        backend = Backend(
            name=name,
            url=url,
            address=canonical(url),
            type=type_,
            traits=adapter_for(type_).traits,
            source=source,
            origin="added by the test",
            zone=Zone.RESTRICTED,
            accepted=accepted,
            enabled=enabled,
            api_key_env=api_key_env,
        )
        self.registry.add(backend)
        return backend

    async def until(self, backend: Backend, state: BackendState, *, within: float = 8.0) -> None:
        await self.heard.until(lambda: backend.health is state, within=within)

    def changes(self, name: str = "box") -> list[str]:
        """What the registry said of a backend's state, in order."""
        words = [e.what for e in self.heard.events if isinstance(e, BackendChanged)]
        return [what for what in words if what.startswith("is ")]

    def reload(self, limits: HealthCheckConfig) -> None:
        self.config = msgspec.structs.replace(self.config, health_check=limits)


@asynccontextmanager
async def checking(
    limits: HealthCheckConfig = QUICK,
    *,
    backends: Sequence[BackendConfig] = (),
    environ: Mapping[str, str] | None = None,
    wall: Callable[[], float] = time.time,
) -> AsyncIterator[World]:
    """A running checker over an empty list. `backends` are what the file says of them."""
    bus = Bus()
    registry = Registry(bus)
    world: World
    health = HealthChecker(
        registry,
        bus,
        node_id=NODE,
        get_config=lambda: world.config,
        make_client=lambda: httpx.AsyncClient(trust_env=False, verify=False),
        environ=environ or {},
        wall=wall,
        tick_seconds=0.05,
    )
    config = Config(health_check=limits, backends=list(backends))
    world = World(config, bus, registry, Heard(bus), health)
    await health.start()
    try:
        yield world
    finally:
        await health.stop()
