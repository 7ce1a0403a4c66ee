"""The stage: leaves out, lets one try, and never leaves nobody."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.config.model import Strategy
from nexus_proxy.quality.service import Outcome
from nexus_proxy.routing.quality import UNKNOWN_QUALITY, is_trial, keep, part
from nexus_proxy.routing.types import Candidate, Demand, RequestFacts, Selection
from tests.unit.quality.support import World


def candidates_of(world: World) -> list[Candidate]:
    offers = world.registry.offers("m")
    return [Candidate(backend, model, "m", backend.zone) for backend, model in offers]


def kept(world: World) -> tuple[list[str], dict[str, str]]:
    """Names that stay, and the reasons of those that do not."""
    reasons: dict[str, str] = {}

    def reject(candidate: Candidate, reason: str, _fix: str | None) -> None:
        reasons[candidate.backend.name] = reason

    facts = RequestFacts(model_asked="m", now=world.steady)
    selection = Selection(facts, Demand(), "m", None, Strategy.SMART, {})
    candidates = candidates_of(world)
    return [c.backend.name for c in keep(selection, candidates, reject)], reasons


def trials(world: World) -> list[str]:
    return [c.backend.name for c in candidates_of(world) if is_trial(c, world.steady)]


def test_nobody_is_left_out_before_anything_is_known() -> None:
    world = World("a", "b")
    assert kept(world) == (["a", "b"], {})
    assert trials(world) == []


def test_one_that_fails_is_left_out_with_the_reason_until_its_rest_is_over() -> None:
    world = World("a", "b")
    world.note("a", Outcome.FAULT, times=5)
    assert kept(world) == (["b"], {"a": "it failed too often with m and is tried again in 30 s"})
    assert trials(world) == []
    world.wait(30)
    assert kept(world) == (["a", "b"], {})
    assert trials(world) == ["a"]


def test_one_request_at_a_time_tries_it() -> None:
    world = World("a", "b")
    world.note("a", Outcome.FAULT, times=5)
    world.wait(30)
    backend = world.registry.get("a")
    world.quality.begin(backend, "m")
    assert kept(world) == (
        ["b"],
        {"a": "it failed too often with m and is being tried again just now"},
    )
    world.quality.note(backend, "m", Outcome.SERVED)
    assert trials(world) == ["a"]
    world.note("a", Outcome.SERVED)
    assert kept(world) == (["a", "b"], {})
    assert trials(world) == []


def test_one_model_of_a_backend_does_not_stand_for_another() -> None:
    world = World("a", "b")
    world.quality.note(world.registry.get("a"), "other", Outcome.FAULT)
    for _ in range(9):
        world.quality.note(world.registry.get("a"), "other", Outcome.FAULT)
    assert world.registry.get("a").quality["other"].excluded_until
    assert kept(world) == (["a", "b"], {})


fleets = st.lists(
    st.tuples(st.sampled_from(Outcome), st.integers(0, 12), st.booleans()), min_size=1, max_size=6
)


@given(fleets, st.floats(0.0, 4000.0))
def test_somebody_always_stays_and_whoever_goes_has_a_reason(
    fleet: list[tuple[Outcome, int, bool]], later: float
) -> None:
    world = World(*(f"n{number}" for number in range(len(fleet))))
    for number, (outcome, times, _) in enumerate(fleet):
        world.note(f"n{number}", outcome, times=times)
    world.wait(later)
    for number, (_, _, tried) in enumerate(fleet):
        if tried:
            world.quality.begin(world.registry.get(f"n{number}"), "m")
    names, reasons = kept(world)
    assert names
    assert {*names, *reasons} == {backend.name for backend in world.registry}
    assert not {*names} & {*reasons}
    healthy = {
        b.name for b in world.registry if not any(s.excluded_until for s in b.quality.values())
    }
    assert healthy <= {*names}
    if healthy:
        assert {*names} == healthy | {*trials(world)}


def test_the_part_of_the_score() -> None:
    world = World("a", "b")
    world.note("a", Outcome.SERVED, times=5)
    world.quality.recompute()
    parts = {c.backend.name: part(c) for c in candidates_of(world)}
    assert parts == {"a": 100.0, "b": UNKNOWN_QUALITY}
