"""Who waits, who is served when a slot becomes free, and how a wait ends. A real loop."""

from __future__ import annotations

import asyncio

import pytest

from nexus_proxy.config.model import Priority, RoutingConfig, Zone
from nexus_proxy.errors import (
    GatewayStoppingError,
    QueueFullError,
    QueueTimeoutError,
    RoutingRefusedError,
)
from nexus_proxy.events import Event, GatewayDraining, RequestQueued
from nexus_proxy.state import BackendState
from tests.unit.admission.world import World, settled, where

HIGH = Priority.HIGH


async def test_a_slot_that_is_free_is_taken_at_once_and_unknown_slots_are_no_limit() -> None:
    world = World()
    world.add("one", slots=2)
    assert len(world.fill()) == 2
    seat = world.wait("r")
    world.add("endless")
    await settled()
    assert where(seat) == "endless"
    assert world.take() is not None
    assert world.line == []


async def test_first_come_first_served() -> None:
    world = World()
    world.add("one", slots=1)
    (hold,) = world.fill()
    first, second = await world.waiting("first", "second")
    hold.release()
    await settled()
    assert first.done()
    assert world.line == ["second"]
    first.result().hold.release()
    await settled()
    assert second.done()


async def test_a_freed_slot_is_the_waiters_before_anybody_else_can_ask() -> None:
    world = World()
    backend = world.add("one", slots=1)
    (hold,) = world.fill()
    (waiter,) = await world.waiting("waiter")
    hold.release()
    assert world.take() is None  # in the same tick: the waiter has not even run
    assert backend.in_flight == 1
    await settled()
    assert where(waiter) == "one"


async def test_a_slot_that_is_new_is_the_waiters_too_though_its_news_are_not_out_yet() -> None:
    world = World()
    world.add("one", slots=1)
    world.fill()
    (waiter,) = await world.waiting("waiter")
    world.see("one", "m", slots=2)
    assert world.take() is None
    await settled()
    assert waiter.done()


async def test_nor_does_one_that_begins_to_wait_take_it() -> None:
    world = World()
    world.add("one", slots=1)
    world.fill()
    (waiter,) = await world.waiting("waiter")
    newcomer = world.wait("newcomer")  # runs before the news of the next line are looked at
    world.see("one", "m", slots=2)
    await settled()
    assert waiter.done()
    assert not newcomer.done()
    newcomer.cancel()


async def test_who_leaves_after_it_was_given_a_slot_passes_it_on() -> None:
    world = World()
    backend = world.add("one", slots=1)
    (hold,) = world.fill()
    first, second = await world.waiting("first", "second")
    hold.release()
    first.cancel()  # its slot is reserved, and it has not run since
    await settled()
    assert first.cancelled()
    assert second.done()
    assert backend.in_flight == 1
    second.result().hold.release()
    assert (backend.in_flight, backend.running) == (0, {})


async def test_who_leaves_before_frees_its_place_at_once() -> None:
    world = World(max_size=1)
    world.add("one", slots=1)
    (hold,) = world.fill()
    (first,) = await world.waiting("first")
    first.cancel()
    hold.release()
    await settled()
    assert world.line == []
    assert world.take() is not None
    assert world.clock.alarms == 0


async def test_high_goes_before_normal_but_not_before_who_has_waited_for_half_of_its_patience() -> (
    None
):
    world = World(max_wait_seconds=30)
    world.add("one", slots=1)
    world.fill()
    await world.waiting("old")
    world.clock.advance(10)
    await world.waiting("young")
    world.clock.advance(5.5)
    late = world.wait("late", priority=HIGH)
    await settled()
    assert world.line == ["old", "late", "young"]
    late.cancel()


async def test_one_that_cannot_be_served_yet_holds_up_nobody() -> None:
    world = World()
    world.add("a-only", "a", slots=1)
    world.add("b-only", "b", slots=1)
    world.fill("a")
    (b,) = world.fill("b")
    (front,) = await world.waiting("front", model="a")
    (behind,) = await world.waiting("behind", model="b")
    b.release()
    await settled()
    assert where(behind) == "b-only"
    assert not front.done()
    assert world.line == ["front"]
    front.cancel()


@pytest.mark.parametrize("how", ["up", "resumed", "added", "models", "slots"])
async def test_whatever_makes_another_backend_able_wakes(how: str) -> None:
    world = World()
    world.add("full", slots=1)
    world.fill()
    if how != "added":
        world.add("other", "m" if how != "models" else "x", slots=1)
    if how == "up":
        world.registry.mark("other", BackendState.DOWN, "refused")
    if how == "resumed":
        world.registry.set_drained("other", True)
    if how == "slots":
        world.fill()
    (waiter,) = await world.waiting("waiter")
    assert not waiter.done()
    match how:
        case "up":
            world.registry.mark("other", BackendState.UP)
        case "resumed":
            world.registry.set_drained("other", False)
        case "added":
            world.add("other", slots=1)
        case "models":
            world.see("other", "x", "m")
        case "slots":
            world.see("other", "m", slots=2)
    await settled()
    assert where(waiter) == "other"


@pytest.mark.parametrize("how", ["down", "drained", "removed"])
async def test_who_has_nobody_left_to_wait_for_is_refused_with_the_reason(how: str) -> None:
    world = World()
    world.add("one", slots=1)
    world.add("two", slots=1)
    world.fill()
    (waiter,) = await world.waiting("waiter")
    world.registry.set_drained("two", True)
    await settled()
    assert [o.backend for o in world.view("waiter").waits_for] == ["one"]
    match how:
        case "down":
            world.registry.mark("one", BackendState.DOWN, "refused")
        case "drained":
            world.registry.set_drained("one", True)
        case "removed":
            world.registry.remove("one")
    await settled()
    error = waiter.exception()
    assert isinstance(error, RoutingRefusedError)
    assert not isinstance(error, QueueTimeoutError)
    assert "two: draining" in error.message
    assert world.line == []


async def test_a_backend_whose_zone_was_opened_meanwhile_gets_nothing_that_waited_for_it() -> None:
    world = World()
    world.add("one", slots=1)
    (hold,) = world.fill()
    waiter = world.wait("waiter", zone=Zone.RESTRICTED)
    await settled()
    world.registry.set_zone("one", Zone.OPEN)
    hold.release()  # before the loop could tell
    await settled()
    assert isinstance(waiter.exception(), RoutingRefusedError)
    assert world.registry.get("one").in_flight == 0


async def test_a_fallback_that_is_free_is_better_than_a_wait() -> None:
    world = World(RoutingConfig(fallbacks={"big": ["small"]}))
    world.add("one", "big", slots=1)
    world.add("two", "small", slots=1)
    world.fill("big")
    (waiter,) = await world.waiting("waiter", model="big")
    assert world.line == ["waiter"]
    world.see("two", "small", slots=2)
    await settled()
    seat = waiter.result()
    assert (seat.candidate.model.id, seat.decision.is_fallback) == ("small", True)


async def test_full_is_an_error_with_the_reasons_and_an_honest_eta() -> None:
    world = World(max_size=2)
    world.add("one", slots=2)
    for hold in world.fill():
        world.clock.advance(6)
        hold.release()
    world.fill()
    await world.waiting("first", "second")
    with pytest.raises(QueueFullError) as caught:
        await world.wait("third")
    error = caught.value
    # Held 6 s and 12 s: 6 + 0.3 · (12 − 6) = 7.8 s each, on two slots; its turn would be the third.
    assert error.context["eta_seconds"] == error.retry_after == pytest.approx(3 * 7.8 / 2)
    assert error.context["rejections"] == [
        {"backend": "one", "stage": "schedule", "reason": "all 2 slots taken", "fix": None}
    ]
    assert error.status == 503
    assert "2 other requests wait already" in error.message
    assert "about 12 s" in error.message
    assert world.line == ["first", "second"]


async def test_nothing_measured_is_no_eta() -> None:
    world = World(max_size=1)
    world.add("one", slots=1)
    world.fill()
    await world.waiting("first")
    assert world.view("first").eta_seconds is None
    with pytest.raises(QueueFullError) as caught:
        await world.wait("second")
    assert caught.value.context["eta_seconds"] is None
    assert caught.value.retry_after is not None  # it may well help
    assert "not known yet" in caught.value.message


async def test_the_eta_counts_only_rivals_and_all_backends() -> None:
    world = World()
    world.add("fast", "a", "b", slots=1)
    world.add("slow", "b", slots=1)
    for model, seconds in (("a", 4.0), ("b", 4.0)):
        (hold,) = [world.take(model)]
        assert hold is not None
        world.clock.advance(seconds)
        hold.release()
    slow = world.admission.slots.hold(world.registry.get("slow"), "b")
    world.clock.advance(12)
    slow.release()
    world.fill("a")
    world.fill("b")
    await world.waiting("for-a", model="a")
    await world.waiting("for-b", model="b")
    assert world.view("for-a").eta_seconds == pytest.approx(4.0)
    assert world.view("for-b").eta_seconds == pytest.approx(2 / (1 / 4 + 1 / 12))


async def test_who_runs_longer_than_usual_makes_the_wait_look_longer() -> None:
    world = World()
    world.add("one", slots=1)
    hold = world.take()
    assert hold is not None
    world.clock.advance(4)
    hold.release()
    world.fill()
    await world.waiting("waiter")
    world.clock.advance(3)
    assert world.view("waiter").eta_seconds == pytest.approx(4.0)
    world.clock.advance(7)
    assert world.view("waiter").eta_seconds == pytest.approx(10.0)


async def test_late_is_an_error_that_says_how_long_and_for_whom() -> None:
    world = World(max_wait_seconds=5)
    world.add("one", slots=1)
    world.fill()
    (waiter,) = await world.waiting("waiter")
    world.clock.advance(4.9)
    await settled()
    assert not waiter.done()
    world.clock.advance(0.1)
    await settled()
    error = waiter.exception()
    assert isinstance(error, QueueTimeoutError)
    assert "'m' in 5 s" in error.message
    assert "one: its only slot is taken" in error.message
    assert world.line == []


async def test_a_queue_that_is_off_refuses_at_once() -> None:
    world = World(enabled=False)
    world.add("one", slots=1)
    (hold,) = world.fill()
    with pytest.raises(QueueFullError, match="the queue is off"):
        await world.wait("r")
    hold.release()
    seat = await world.wait("r")
    assert seat.candidate.backend.name == "one"


async def test_a_gateway_that_stops_sends_everybody_away() -> None:
    world = World()
    backend = world.add("one", slots=1)
    (hold,) = world.fill()
    waiters = await world.waiting("first", "second")
    hold.release()  # the first has it, and finishes as those that run do
    world.bus.publish(GatewayDraining())
    await settled()
    assert waiters[0].result().candidate.backend is backend
    assert isinstance(waiters[1].exception(), GatewayStoppingError)
    with pytest.raises(GatewayStoppingError):
        await world.wait("third")
    assert world.clock.alarms == 0


async def test_a_bug_in_one_decision_ends_only_that_wait() -> None:
    world = World()
    world.add("one", slots=1)
    (hold,) = world.fill()
    broken, sound = await world.waiting("broken", "sound")
    world.broken = "broken"
    hold.release()
    await settled()
    assert isinstance(broken.exception(), ZeroDivisionError)
    assert sound.done()


async def test_who_waits_is_kept_informed_and_may_leave_by_it() -> None:
    world = World()
    backend = world.add("one", slots=1)
    (hold,) = world.fill()
    beats, beaten = 0, asyncio.Event()

    async def pulse() -> None:
        nonlocal beats
        beats += 1
        if beats == 2:
            beaten.set()
        if beats == 3:
            hold.release()  # its slot comes while it notices that its client is gone
            raise ConnectionResetError

    waiter = world.wait("waiter", pulse=pulse)
    await beaten.wait()
    with pytest.raises(ConnectionResetError):
        await waiter
    assert backend.in_flight == 0
    assert world.line == []


async def test_coming_and_going_is_published() -> None:
    world = World()
    world.add("one", slots=1)
    (hold,) = world.fill()
    told: list[tuple[str, bool]] = []

    def hear(event: Event) -> None:
        assert isinstance(event, RequestQueued)
        told.append((event.id, event.waits))

    world.bus.subscribe(hear, RequestQueued)
    first, second = await world.waiting("first", "second")
    hold.release()
    second.cancel()
    await settled()
    assert told == [("first", True), ("second", True), ("first", False), ("second", False)]
    first.result().hold.release()


async def test_a_removed_backend_leaves_no_figures_behind() -> None:
    world = World()
    world.add("one", slots=1)
    (hold,) = world.fill()
    hold.release()
    assert list(world.admission.slots.mean_seconds) == [("one", "m")]
    world.registry.remove("one")
    assert not world.admission.slots.mean_seconds
