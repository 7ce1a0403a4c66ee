"""Models that push each other out: what is known of the room, who waits, and for how long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.admission.queue import SWAP_AFTER_SERVED
from nexus_proxy.admission.slots import Hold
from nexus_proxy.admission.swaps import would_evict
from nexus_proxy.config.model import Priority
from nexus_proxy.registry import Backend
from nexus_proxy.state import BackendState, ModelInfo, Traits
from tests.unit.admission.world import World, settled

SWAPS = Traits(swaps=True)
A, B, C = (ModelInfo(id=name, loaded=name == "a") for name in "abc")
"""`a` is loaded, the others are not."""


def box(
    world: World,
    *models: ModelInfo,
    slots: int | None = None,
    max_loaded: int | None = None,
    traits: Traits = SWAPS,
) -> Backend:
    chosen = models or (A, B)
    return world.add_kind("box", *chosen, traits=traits, slots=slots, max_loaded=max_loaded)


def reason(world: World, model: str) -> str | None:
    (_, candidate), *_ = world.decide(model)
    return would_evict(candidate, world.registry.get("box").running)


def held(world: World, model: str) -> Hold:
    hold = world.take(model)
    assert hold is not None
    return hold


# -- what is known of the room ------------------------------------------------------------------


def test_a_busy_model_would_be_evicted_and_an_idle_one_may_be() -> None:
    world = World()
    box(world)
    assert reason(world, "b") is None
    first, second = held(world, "a"), held(world, "a")
    assert reason(world, "a") is None
    assert reason(world, "b") == "swap: a runs 2 requests"
    second.release()
    assert reason(world, "b") == "swap: a runs 1 request"
    first.release()
    assert reason(world, "b") is None


def test_only_backends_that_swap_are_asked() -> None:
    world = World()
    box(world, traits=Traits())
    held(world, "a")
    assert reason(world, "b") is None


def test_a_model_that_runs_elsewhere_or_is_not_told_of_takes_no_room() -> None:
    world = World()
    remote = ModelInfo(id="remote", remote=True)
    box(world, A, B, remote)
    held(world, "a")
    assert reason(world, "remote") is None
    world = World()
    box(world, A, B, remote)
    held(world, "remote")
    assert reason(world, "b") is None


def test_a_check_that_is_older_than_the_last_change_is_not_believed() -> None:
    world = World()
    box(world)
    held(world, "b")  # the list still says that `a` is loaded
    assert reason(world, "a") == "swap: b runs 1 request"
    assert reason(world, "b") is None


def test_what_was_seen_loaded_together_fits_together_until_the_backend_was_down() -> None:
    world = World()
    backend = box(world, A, B, C)
    world.load("box", "a", "b")
    world.load("box", "a")
    held(world, "a")
    assert reason(world, "b") is None
    assert reason(world, "c") == "swap: a runs 1 request"
    world.load("box", "a", "b", "c")
    assert backend.seen_together == (frozenset(("a", "b", "c")),)

    world.load("box", "a")
    world.registry.mark("box", BackendState.DOWN, "refused")
    world.registry.mark("box", BackendState.UP)
    assert reason(world, "b") == "swap: a runs 1 request"


def test_a_router_that_tells_its_room_evicts_when_that_is_full_whoever_is_busy() -> None:
    world = World()
    box(world, A, B, C, max_loaded=2)
    held(world, "a")
    assert reason(world, "b") is None
    world.load("box", "a", "b")
    assert reason(world, "c") == "swap: a runs 1 request"  # `b` is idle, but may be the newer one
    assert reason(world, "b") is None


# -- who waits ----------------------------------------------------------------------------------


async def test_a_change_of_models_waits_until_the_busy_one_has_drained() -> None:
    world = World()
    backend = box(world)
    first, second = held(world, "a"), held(world, "a")
    (waiter,) = await world.waiting("waiter", model="b")
    assert [o.why for o in world.view("waiter").waits_for] == ["swap: a runs 2 requests"]
    first.release()
    await settled()
    assert not waiter.done()
    second.release()
    await settled()
    assert waiter.done()
    assert backend.running == {"b": 1}


async def test_it_goes_elsewhere_where_it_harms_nobody() -> None:
    world = World()
    box(world)
    world.add("other", "b", slots=1)
    held(world, "a")
    hold = held(world, "b")
    (waiter,) = await world.waiting("waiter", model="b")
    assert {o.backend for o in world.view("waiter").waits_for} == {"box", "other"}
    hold.release()
    await settled()
    assert waiter.result().candidate.backend.name == "other"


async def test_after_so_many_others_it_goes_first_and_newcomers_wait_behind_it() -> None:
    world = World()
    box(world)
    keeper = held(world, "a")
    (waiter,) = await world.waiting("waiter", model="b")
    for _ in range(SWAP_AFTER_SERVED):
        held(world, "a").release()
    assert world.take("a") is None
    (behind,) = await world.waiting("behind", model="a")
    assert [o.why for o in world.view("behind").waits_for] == ["swap: b goes first"]
    keeper.release()
    await settled()
    assert waiter.done()
    assert not behind.done()
    waiter.result().hold.release()
    await settled()
    assert behind.done()


async def test_after_so_long_it_goes_first() -> None:
    world = World(max_wait_seconds=30)
    box(world)
    keeper = held(world, "a")
    (waiter,) = await world.waiting("waiter", model="b")
    held(world, "a").release()
    world.clock.advance(10)
    assert world.take("a") is None
    keeper.release()
    await settled()
    assert waiter.done()


async def test_of_two_that_have_waited_so_long_the_first_goes_first() -> None:
    world = World(max_wait_seconds=30)
    box(world, A, B, C)
    keeper = held(world, "a")
    (first,) = await world.waiting("first", model="b")
    (second,) = await world.waiting("second", model="c")
    world.clock.advance(10)
    keeper.release()
    await settled()
    assert first.done()
    assert not second.done()
    first.result().hold.release()
    await settled()
    assert second.done()


async def test_when_the_one_who_goes_first_leaves_those_behind_it_go_on() -> None:
    world = World(max_wait_seconds=30)
    box(world)
    held(world, "a")
    (waiter,) = await world.waiting("waiter", model="b")
    world.clock.advance(10)
    (behind,) = await world.waiting("behind", model="a")
    assert not behind.done()
    waiter.cancel()
    await settled()
    assert behind.done()


async def test_those_who_want_the_loaded_model_go_together_but_not_before_a_higher_class() -> None:
    world = World()
    box(world, slots=1)
    keeper = held(world, "a")
    (cold,) = await world.waiting("cold", model="b")
    (warm,) = await world.waiting("warm", model="a")
    keeper.release()
    await settled()
    assert warm.done()
    assert not cold.done()
    high = world.wait("high", "b", priority=Priority.HIGH)
    await settled()
    (warm_too,) = await world.waiting("warm-too", model="a")
    warm.result().hold.release()
    await settled()
    assert high.done()
    assert not warm_too.done()
    high.result().hold.release()
    await settled()
    assert cold.done()  # `b` is loaded now, so it goes with `high`
    cold.result().hold.release()
    await settled()
    assert warm_too.done()


async def test_the_eta_of_a_change_is_until_it_goes_first_and_the_busy_one_has_drained() -> None:
    world = World(max_wait_seconds=30)
    box(world)
    hold = held(world, "a")
    world.clock.advance(7)
    hold.release()
    held(world, "a")
    await world.waiting("waiter", model="b")
    assert world.view("waiter").eta_seconds == 10 + 7
    world.clock.advance(4)
    assert world.view("waiter").eta_seconds == 6 + 7


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["come", "end", "look"])),
        max_size=60,
    ),
    st.none() | st.integers(1, 3),
)
def test_no_busy_model_is_ever_evicted(steps: list[tuple[str, str]], slots: int | None) -> None:
    """Whatever comes, ends and is looked at: a box with room for one never runs two."""
    world = World()
    backend = box(world, A, B, C, slots=slots)
    holds: list[Hold] = []
    for model, what in steps:
        if what == "come" and (hold := world.take(model)) is not None:
            holds.append(hold)
        elif what == "end" and holds:
            holds.pop(0).release()
        elif what == "look" and backend.latest_model:
            world.load("box", backend.latest_model)
        assert len(backend.running) <= 1
