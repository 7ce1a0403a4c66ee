"""What a backend lists: the same object until it changes, since every snapshot has it."""

from __future__ import annotations

from typing import Any

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.events import BackendChanged, Bus
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import ModelInfo, Probe, Source, Traits


def registry(bus: Bus | None = None) -> Registry:
    known = Registry(bus or Bus())
    known.add(
        Backend(
            name="a",
            url="http://a",
            address="a",
            type=BackendType.GENERIC,
            traits=Traits(),
            source=Source.CONFIG,
            origin="test",
            zone=Zone.INTERNAL,
        )
    )
    return known


def see(known: Registry, *models: str, **changes: Any) -> tuple[ModelInfo, ...]:
    infos = tuple(ModelInfo(id=model, **changes) for model in models)
    known.seen("a", Probe(models=infos), probe_ms=1.0)
    return known.view(known.get("a")).models


def allow(known: Registry, *patterns: str) -> tuple[ModelInfo, ...]:
    known.configure(
        "a",
        zone=Zone.INTERNAL,
        tier=1,
        priority=50,
        tags=(),
        enabled=True,
        drained=False,
        max_concurrent=None,
        allow_models=patterns,
        api_key_env=None,
    )
    return known.view(known.get("a")).models


def test_a_check_that_sees_the_same_changes_nothing() -> None:
    known = registry()
    before = see(known, "m", "n", loaded=True)
    assert see(known, "m", "n", loaded=True) is before
    assert see(known, "m", "n", loaded=False) != before
    assert [model.id for model in see(known, "m")] == ["m"]


def test_an_allow_list_counts_at_once_and_so_does_a_model_that_is_gone() -> None:
    known = registry()
    see(known, "llama", "qwen")
    assert [model.id for model in allow(known, "q*")] == ["qwen"]
    assert known.offers("llama") == ()
    assert [model.id for model in allow(known)] == ["llama", "qwen"]
    known.forget_model(known.get("a"), "llama")
    assert [model.id for model in known.view(known.get("a")).models] == ["qwen"]


def test_only_what_changed_is_told() -> None:
    bus = Bus()
    heard: list[str] = []
    bus.subscribe(
        lambda event: heard.append(event.what if isinstance(event, BackendChanged) else "")
    )
    known = registry(bus)
    heard.clear()
    for _ in range(2):
        see(known, "m")
    see(known, "m", "n")
    see(known, "m", "n", loaded=True)
    see(known, "m", "n", loaded=False)
    assert heard == [
        "lists 1 model",
        "lists 2 models",
        "has m, n in memory",
        "has m, n in memory no more",
    ]
