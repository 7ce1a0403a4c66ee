"""Routing decisions over generated fleets. The first rule: privacy is never violated."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.config.model import (
    BackendType,
    PolicyConfig,
    Privacy,
    RoutingConfig,
    Strategy,
    Zone,
)
from nexus_proxy.errors import ContextOverflowError, RoutingRefusedError, UnknownModelError
from nexus_proxy.events import Bus
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.refusal import refuse
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import RequestFacts
from nexus_proxy.state import BackendState, Capability, ModelInfo, Probe, Source, Traits

MODELS = ("a", "b", "c:latest", "org/d")


def add(registry: Registry, name: str, *models: str | ModelInfo, **fields: Any) -> Backend:
    """List a backend that is up and serves `models`."""
    health = fields.pop("health", BackendState.UP)
    backend = Backend(
        name=name,
        url=f"http://{name}",
        address=name,
        type=BackendType.GENERIC,
        traits=Traits(is_cloud=fields.pop("is_cloud", False)),
        source=Source.CONFIG,
        origin="test",
        zone=fields.pop("zone", Zone.RESTRICTED),
        **fields,
    )
    registry.add(backend)
    registry.mark(name, health)
    infos = tuple(m if isinstance(m, ModelInfo) else ModelInfo(id=m) for m in models)
    registry.seen(name, Probe(models=infos), probe_ms=1.0)
    return backend


def decide(
    registry: Registry, asked: str, routing: RoutingConfig | None = None, **facts: Any
) -> list[Decision]:
    return list(
        plan(RequestFacts(model_asked=asked, **facts), registry, Rules(routing or RoutingConfig()))
    )


def order(decisions: list[Decision]) -> list[str]:
    return [c.backend.name for d in decisions for c in d.candidates]


@pytest.fixture
def registry() -> Registry:
    return Registry(Bus())


# -- privacy -----------------------------------------------------------------------------------

zones = st.sampled_from(list(Zone))


@st.composite
def fleets(draw: st.DrawFn) -> Registry:
    registry = Registry(Bus())
    for number in range(draw(st.integers(1, 6))):
        models = draw(st.lists(st.sampled_from(MODELS), min_size=1, unique=True))
        backend = add(
            registry,
            f"n{number}",
            *(ModelInfo(id=m, remote=draw(st.booleans())) for m in models),
            zone=draw(zones),
            tier=draw(st.integers(1, 5)),
            drained=draw(st.booleans()),
            enabled=draw(st.booleans()),
            accepted=draw(st.booleans()),
            max_concurrent=draw(st.none() | st.integers(1, 2)),
            health=draw(
                st.sampled_from([BackendState.UP, BackendState.DOWN, BackendState.LOADING])
            ),
        )
        backend.in_flight = draw(st.integers(0, 3))
    return registry


names = st.sampled_from([*MODELS, "c", "alias", "n0/a", "glob-x"])


@st.composite
def routings(draw: st.DrawFn) -> RoutingConfig:
    policies = st.builds(
        PolicyConfig,
        model_pattern=st.sampled_from(["*", "a", "alias", "glob-*", "b", "c*"]),
        privacy=st.sampled_from(list(Privacy)),
        min_tier=st.none() | st.integers(1, 5),
        fallback_allowed=st.booleans(),
    )
    return RoutingConfig(
        strategy=draw(st.sampled_from(list(Strategy))),
        aliases={"alias": draw(st.sampled_from(MODELS)), "glob-*": draw(st.sampled_from(MODELS))},
        fallbacks=draw(st.dictionaries(names, st.lists(names, max_size=3), max_size=3)),
        policies=draw(st.lists(policies, max_size=3)),
    )


@given(fleets(), routings(), names, zones, st.booleans(), st.integers(0, 50))
def test_no_candidate_is_ever_more_open_than_any_demand_on_the_way(
    registry: Registry, routing: RoutingConfig, asked: str, zone: Zone, flexible: bool, turn: int
) -> None:
    registry.pins = {"a": "n0", "b": "n1"}
    try:
        decisions = decide(registry, asked, routing, zone=zone, flexible=flexible, turn=turn)
    except UnknownModelError:
        return
    required = zone
    for decision in decisions:
        for name in decision.resolution.path:
            required = max(required, _policy_zone(routing, name))
        assert decision.demand.zone >= required
        for candidate in decision.candidates:
            backend = candidate.backend
            remote = backend.models[candidate.model.id].remote
            assert (Zone.OPEN if remote else backend.zone) >= required
            assert backend.enabled
            assert backend.accepted
            assert not backend.drained
            assert backend.health is not BackendState.DOWN
            if decision.demand.min_tier is not None:
                assert backend.tier >= decision.demand.min_tier
        listed = {b.name for b in registry.serving(decision.resolution.model)}
        named = {c.backend.name for c in decision.candidates} | {
            r.backend for r in decision.rejections
        }
        assert named <= listed
        if decision.resolution.forced is None:
            assert named == listed


def _policy_zone(routing: RoutingConfig, name: str) -> Zone:
    from fnmatch import fnmatchcase

    found = next((p for p in routing.policies if fnmatchcase(name, p.model_pattern)), None)
    return Zone.RESTRICTED if found and found.privacy is Privacy.RESTRICTED else Zone.OPEN


def test_a_policy_on_an_alias_holds_for_what_it_stands_for_and_for_its_fallbacks(
    registry: Registry,
) -> None:
    add(registry, "home", "small", zone=Zone.RESTRICTED, health=BackendState.DOWN)
    add(registry, "cloud", "big", "small", zone=Zone.OPEN, is_cloud=True)
    routing = RoutingConfig(
        aliases={"mine": "small"},
        fallbacks={"small": ["big"]},
        policies=[PolicyConfig(model_pattern="mine", privacy=Privacy.RESTRICTED)],
    )
    decisions = decide(registry, "mine", routing)
    assert order(decisions) == []
    error = refuse(decisions)
    assert isinstance(error, RoutingRefusedError)
    assert error.context["required_zone"] == "restricted"
    assert {(r["backend"], r["stage"]) for r in error.context["rejections"]} == {
        ("home", "lifecycle"),
        ("cloud", "privacy"),
    }
    assert order(decide(registry, "small", routing)) == ["cloud", "cloud"]


# -- names -------------------------------------------------------------------------------------


def test_names_resolve_through_aliases_latest_and_backend_prefixes(registry: Registry) -> None:
    add(registry, "one", "llama3:latest", "org/model")
    add(registry, "two", "llama3:latest", "qwen")
    routing = RoutingConfig(
        aliases={"gpt-4": "mid", "mid": "low", "low": "qwen", "claude-*": "llama3"}
    )
    assert decide(registry, "gpt-4", routing)[0].resolution.path == ("gpt-4", "mid", "low", "qwen")
    assert decide(registry, "llama3")[0].resolution.model == "llama3:latest"
    assert decide(registry, "claude-haiku-9", routing)[0].resolution.model == "llama3:latest"
    assert decide(registry, "qwen:latest")[0].resolution.model == "qwen"
    assert order(decide(registry, "two/llama3")) == ["two"]
    assert order(decide(registry, "org/model")) == ["one"]
    assert order(decide(registry, "one/org/model")) == ["one"]


def test_an_unknown_name_is_told_the_nearest(registry: Registry) -> None:
    add(registry, "one", "qwen3:8b", "llama3.2")
    with pytest.raises(UnknownModelError, match=r"'llama3\.2'") as caught:
        decide(registry, "lama3.2")
    assert caught.value.nearest[0] == "llama3.2"
    with pytest.raises(UnknownModelError) as caught:
        decide(registry, "QWEN3:8B", RoutingConfig(aliases={"qwen3:8*": "llama3.2"}))
    assert caught.value.nearest[0] == "qwen3:8b"
    assert "qwen3:8*" not in caught.value.message


# -- needs -------------------------------------------------------------------------------------


def test_unknown_abilities_are_allowed_and_known_lack_is_not(registry: Registry) -> None:
    can = ModelInfo(id="m", can=frozenset({Capability.TOOLS}))
    cannot = ModelInfo(id="m", cannot=frozenset({Capability.TOOLS}))
    add(registry, "says-no", cannot)
    add(registry, "says-nothing", "m")
    add(registry, "says-yes", can)
    decisions = decide(registry, "m", needs=frozenset({Capability.TOOLS}))
    assert order(decisions) == ["says-yes", "says-nothing"]
    assert decisions[0].rejections[0].backend == "says-no"


def test_a_prompt_that_fits_nobody_is_the_callers_error(registry: Registry) -> None:
    add(registry, "small", ModelInfo(id="m", context_length=1000))
    assert order(decide(registry, "m", prompt_bytes=6000)) == ["small"]
    decisions = decide(registry, "m", prompt_bytes=70_000)
    assert order(decisions) == []
    assert isinstance(refuse(decisions), ContextOverflowError)
    add(registry, "unknown", "m")
    assert order(decide(registry, "m", prompt_bytes=70_000)) == ["unknown"]


# -- order -------------------------------------------------------------------------------------


def test_priority_load_and_latency_each_change_the_winner(registry: Registry) -> None:
    one = add(registry, "one", "m", max_concurrent=4)
    two = add(registry, "two", "m", max_concurrent=4)
    two.priority = 40
    assert order(decide(registry, "m")) == ["two", "one"]
    two.priority = 50
    two.in_flight = 2
    assert order(decide(registry, "m")) == ["one", "two"]
    two.in_flight = 0
    registry.learn(one, "m", 4000.0, None)
    assert order(decide(registry, "m")) == ["two", "one"]


def test_a_full_backend_steps_back(registry: Registry) -> None:
    best = add(registry, "best", "m", priority=1)
    add(registry, "other", "m", priority=90)
    best.learnt_slots, best.in_flight = 2, 2
    decisions = decide(registry, "m")
    assert order(decisions) == ["other", "best"]
    assert decisions[0].route_reason(decisions[0].candidates[0], 0) == "capacity-overflow"
    best.learnt_slots, best.max_concurrent = None, 2
    assert order(decide(registry, "m")) == ["other", "best"]


def test_strategies_distribute_as_they_say(registry: Registry) -> None:
    for name, priority in (("x", 30), ("y", 20), ("z", 10)):
        add(registry, name, "m", priority=priority)
    luck = iter(float(n) for n in range(1000))

    def firsts(strategy: Strategy) -> Counter[str]:
        routing = RoutingConfig(strategy=strategy)
        return Counter(
            order(decide(registry, "m", routing, turn=turn, luck=lambda: -next(luck)))[0]
            for turn in range(9)
        )

    assert firsts(Strategy.ROUND_ROBIN) == {"x": 3, "y": 3, "z": 3}
    assert firsts(Strategy.PRIORITY_ONLY) == {"z": 9}
    registry.get("z").in_flight = registry.get("x").in_flight = 1
    assert firsts(Strategy.LEAST_BUSY) == {"y": 9}
    assert sum(firsts(Strategy.RANDOM).values()) == 9


def test_a_pin_goes_first_and_others_stay_behind_it(registry: Registry) -> None:
    add(registry, "fast", "m", priority=1)
    add(registry, "mine", "m", priority=99)
    registry.pin("m", "mine")
    decisions = decide(registry, "m")
    assert order(decisions) == ["mine", "fast"]
    assert decisions[0].route_reason(decisions[0].candidates[0], 0) == "pinned"
    assert decisions[0].route_reason(decisions[0].candidates[1], 1) == "failover"


def test_strict_stops_at_the_model_and_flexible_goes_on_without_losing_a_tier(
    registry: Registry,
) -> None:
    add(registry, "main", "m", tier=3, health=BackendState.DOWN)
    add(registry, "spare", "s", tier=4)
    add(registry, "good", "other", tier=3)
    add(registry, "poor", "weak", tier=2)
    routing = RoutingConfig(fallbacks={"m": ["s"]})
    assert order(decide(registry, "m", routing)) == ["spare"]
    assert order(decide(registry, "m", routing, strict=True)) == []
    assert order(decide(registry, "m", routing, flexible=True)) == ["spare", "good"]
