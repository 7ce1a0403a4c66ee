"""Models that are being loaded or unloaded: who waits for them, how long, and who does not."""

from __future__ import annotations

import pytest

from nexus_proxy.errors import QueueTimeoutError
from nexus_proxy.registry import Claim
from nexus_proxy.state import ModelInfo, Traits
from nexus_proxy.tasks import spawn
from tests.unit.admission.world import World, settled, where

SWAPS = Traits(swaps=True)
A, B = ModelInfo(id="a", loaded=False), ModelInfo(id="b", loaded=True)


async def test_a_claim_keeps_requests_until_it_ends() -> None:
    world = World()
    box = world.add_kind("box", A, B, traits=SWAPS)
    world.registry.claim(box, "a", Claim(True, until=world.clock.now + 600))
    assert world.take("a") is None
    (task,) = await world.waiting("one", model="a")
    other = world.take("b")
    assert other is not None, "b is none of its business"
    other.release()
    world.registry.claim(box, "a", None)
    await settled()
    assert where(task) == "box"


async def test_others_wait_too_where_a_load_would_throw_them_out() -> None:
    world = World()
    box = world.add_kind("box", A, B, traits=SWAPS, max_loaded=1)
    world.registry.claim(box, "a", Claim(True, until=world.clock.now + 600))
    assert world.take("b") is None
    await world.waiting("one", model="b")
    assert world.view("one").waits_for[0].why == "swap: a is being loaded"


async def test_the_eta_is_what_is_left_of_the_load() -> None:
    world = World()
    box = world.add_kind("box", A, traits=SWAPS)
    now = world.clock.now
    world.registry.claim(box, "a", Claim(True, until=now + 600, ready_at=now + 20))
    await world.waiting("one", model="a")
    world.clock.advance(12)
    assert world.view("one").eta_seconds == 8.0


async def test_patience_is_that_of_the_load_and_then_over() -> None:
    world = World(max_wait_seconds=30)
    box = world.add_kind("box", A, traits=SWAPS)
    world.registry.claim(box, "a", Claim(True, until=world.clock.now + 100))
    (task,) = await world.waiting("one", model="a")
    world.clock.advance(99)
    assert world.line == ["one"]
    world.clock.advance(2)
    await settled()
    with pytest.raises(QueueTimeoutError, match="a is being loaded"):
        task.result()


async def test_who_waits_for_an_unload_has_the_queues_patience() -> None:
    world = World(max_wait_seconds=30)
    box = world.add_kind("box", A, traits=SWAPS)
    world.registry.claim(box, "a", Claim(False, until=world.clock.now + 600))
    (task,) = await world.waiting("one", model="a")
    world.clock.advance(31)
    await settled()
    assert isinstance(task.exception(), QueueTimeoutError)


async def test_drained_returns_when_the_last_request_has_left() -> None:
    world = World()
    box = world.add("box", "a")
    first, second = world.take("a"), world.take("a")
    assert first is not None
    assert second is not None
    draining = spawn(world.admission.drained(box, lambda: not box.running), name="drain")
    await settled()
    first.release()
    await settled()
    assert not draining.done()
    second.release()
    await settled()
    assert draining.done()
    assert world.admission.slots.on_free is None, "nobody listens any more"
