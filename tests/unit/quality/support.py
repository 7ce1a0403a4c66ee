"""A quality service over a registry, with clocks that tests turn."""

from __future__ import annotations

from typing import Any

from nexus_proxy.config.model import BackendType, QualityConfig, Zone
from nexus_proxy.events import Bus
from nexus_proxy.quality.service import Outcome, Quality
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import BackendState, ModelInfo, Probe, Source, Traits
from tests.support.heard import Heard

START = 1_750_000_000.0


class World:
    """`wall` and `steady` are the two clocks, in seconds."""

    def __init__(self, *names: str, **config: Any) -> None:
        self.wall, self.steady = START, 1000.0
        self.bus = Bus()
        self.registry = Registry(self.bus)
        self.heard = Heard(self.bus)
        self.quality = Quality(
            registry=self.registry,
            bus=self.bus,
            config=QualityConfig(**config),
            clock=lambda: self.wall,
            monotonic=lambda: self.steady,
        )
        for name in names:
            self.add(name)

    def add(self, name: str, *, is_cloud: bool = False) -> Backend:
        backend = Backend(
            name=name,
            url=f"http://{name}",
            address=name,
            type=BackendType.GENERIC,
            traits=Traits(is_cloud=is_cloud),
            source=Source.CONFIG,
            origin="test",
            zone=Zone.RESTRICTED,
        )
        self.registry.add(backend)
        self.registry.mark(name, BackendState.UP)
        self.registry.seen(name, Probe(models=(ModelInfo(id="m"),)), probe_ms=1.0)
        return backend

    def note(self, name: str, outcome: Outcome, *, times: int = 1, **more: Any) -> None:
        """Whole attempts at the model `m`."""
        backend = self.registry.get(name)
        for _ in range(times):
            self.quality.begin(backend, "m")
            self.quality.note(backend, "m", outcome, **more)

    def wait(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds
