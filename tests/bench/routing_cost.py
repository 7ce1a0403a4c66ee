"""The cost of one routing decision."""

from __future__ import annotations

import random
import statistics
import timeit

from nexus_proxy.config.model import BackendType, RoutingConfig, Zone
from nexus_proxy.events import Bus
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.routing.pipeline import plan
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import RequestFacts
from nexus_proxy.state import BackendState, Capability, ModelInfo, Probe, Source, Traits

LOOPS = 2000


def fleet(*, backends: int, models: int) -> Registry:
    """Backends that are up and all serve the same models: the dearest case."""
    registry = Registry(Bus())
    infos = tuple(ModelInfo(id=f"m{n}", context_length=4096) for n in range(models))
    for number in range(backends):
        name = f"b{number}"
        registry.add(
            Backend(
                name=name,
                url=f"http://{name}",
                address=name,
                type=BackendType.GENERIC,
                traits=Traits(),
                source=Source.CONFIG,
                origin="bench",
                zone=Zone.RESTRICTED,
            )
        )
        registry.mark(name, BackendState.UP)
        registry.seen(name, Probe(models=infos), probe_ms=1.0)
    return registry


def decision_microseconds(*, backends: int, models: int) -> float:
    """Median microseconds of one decision over five runs."""
    registry, rules = fleet(backends=backends, models=models), Rules(RoutingConfig())
    facts = RequestFacts(model_asked="m7", needs=frozenset({Capability.CHAT}), luck=random.random)
    runs = timeit.repeat(lambda: next(plan(facts, registry, rules)), number=LOOPS, repeat=5)
    return statistics.median(runs) / LOOPS * 1e6
