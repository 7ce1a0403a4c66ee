"""Any order of arrivals, departures, releases, drains and timeouts, several in one tick.

No slot is given out twice or lost; nobody who waits is forgotten, or could be served; nobody is
passed by a request that came more than the head start after it; no busy model is evicted.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from nexus_proxy.admission.slots import Hold
from nexus_proxy.admission.waiter import HEAD_START, Seat
from nexus_proxy.config.model import Priority
from nexus_proxy.errors import NexusError
from nexus_proxy.events import GatewayDraining
from nexus_proxy.state import BackendState, ModelInfo, Traits
from tests.unit.admission.world import World, settled

MODELS = ("m", "n")
PLAIN = ("one", "two")
"""Backends that do not swap, for which the bound of the classes holds."""
NAMES = (*PLAIN, "box")
PATIENCE = 30.0
picks = st.integers(0, 1_000)


class Queueing(RuleBasedStateMachine):
    """Rules note what happens; `tick` lets all of it happen at once, and then looks."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.script: list[tuple[str, Any, Any]] = []
        self.numbers = itertools.count()
        self.holds: list[Hold] = []
        self.tasks: dict[str, asyncio.Task[Seat]] = {}
        self.arrived: dict[str, float] = {}
        self.passing: list[tuple[str, str, bool]] = []
        """(request, backend, came just now) for each that got a slot in this tick."""
        self.runner.run(self.build())

    async def build(self) -> None:
        self.world = World(max_size=8, max_wait_seconds=PATIENCE)
        self.world.add("one", "m", slots=1)
        self.world.add("two", "m", "n", slots=2)
        boxed = (ModelInfo(id="m", loaded=True), ModelInfo(id="n", loaded=False))
        self.world.add_kind("box", *boxed, traits=Traits(swaps=True), slots=2)
        self.limits = {backend.name: backend.slots or 0 for backend in self.world.registry}

    def teardown(self) -> None:
        self.runner.run(self.finish())
        self.runner.close()

    # -- what happens --------------------------------------------------------------------------

    @rule(model=st.sampled_from(MODELS), priority=st.sampled_from(Priority))
    def arrive(self, model: str, priority: Priority) -> None:
        self.script.append(("arrive", model, priority))

    @rule(pick=picks)
    def end(self, pick: int) -> None:
        self.script.append(("end", pick, None))

    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        self.script.append(("leave", pick, None))

    @rule(name=st.sampled_from(NAMES), drained=st.booleans())
    def drain(self, name: str, drained: bool) -> None:
        self.script.append(("drain", name, drained))

    @rule(name=st.sampled_from(NAMES), up=st.booleans())
    def mark(self, name: str, up: bool) -> None:
        self.script.append(("mark", name, BackendState.UP if up else BackendState.DOWN))

    @rule(name=st.sampled_from(NAMES), slots=st.integers(1, 4))
    def learn(self, name: str, slots: int) -> None:
        self.script.append(("learn", name, slots))

    @rule(seconds=st.sampled_from([0.5, 4.0, 11.0, 31.0]))
    def go_on(self, seconds: float) -> None:
        self.script.append(("go_on", seconds, None))

    @precondition(lambda self: self.script)
    @rule()
    def tick(self) -> None:
        self.runner.run(self.play())

    # -- how it happens ------------------------------------------------------------------------

    async def play(self) -> None:
        before = {view.id for view in self.world.admission.waiting()}
        script, self.script, self.passing = self.script, [], []
        for what, one, other in script:
            getattr(self, f"do_{what}")(one, other)
            self.check_limits()
        await settled()
        self.gather()
        self.check_limits()
        self.check_accounts()
        self.check_line(before)

    def do_arrive(self, model: str, priority: Priority) -> None:
        world, id = self.world, f"r{next(self.numbers)}"
        self.arrived[id] = world.clock.now
        flying = {backend.name: backend.in_flight for backend in world.registry}
        try:
            hold = world.take(model)
        except NexusError:
            return  # nobody is up
        if hold is None:
            self.tasks[id] = world.wait(id, model, priority=priority)
            return
        self.holds.append(hold)
        taken = [b.name for b in world.registry if b.in_flight > flying[b.name]]
        self.passing += [(id, name, True) for name in taken if len(taken) == 1]

    def do_end(self, pick: int, _: None) -> None:
        if self.holds:
            self.holds.pop(pick % len(self.holds)).release()

    def do_leave(self, pick: int, _: None) -> None:
        if self.tasks:
            list(self.tasks.values())[pick % len(self.tasks)].cancel()

    def do_drain(self, name: str, drained: bool) -> None:
        self.world.registry.set_drained(name, drained)

    def do_mark(self, name: str, health: BackendState) -> None:
        self.world.registry.mark(name, health)

    def do_learn(self, name: str, slots: int) -> None:
        backend = self.world.registry.get(name)
        self.limits[name] = max(slots, backend.in_flight)
        self.world.see(name, *backend.models.values(), slots=slots)

    def do_go_on(self, seconds: float, _: None) -> None:
        self.world.clock.advance(seconds)

    def gather(self) -> None:
        """Collect those whose wait has ended."""
        for id, task in list(self.tasks.items()):
            if not task.done():
                continue
            del self.tasks[id]
            if task.cancelled() or task.exception() is not None:
                assert task.cancelled() or isinstance(task.exception(), NexusError)
                continue
            self.holds.append(task.result().hold)
            self.passing.append((id, task.result().candidate.backend.name, False))

    # -- what must hold ------------------------------------------------------------------------

    def check_limits(self) -> None:
        for backend in self.world.registry:
            assert backend.slots is not None
            assert backend.in_flight <= self.limits[backend.name]
            self.limits[backend.name] = max(backend.slots, backend.in_flight)
        assert len(self.world.registry.get("box").running) <= 1

    def check_accounts(self) -> None:
        backends = list(self.world.registry)
        assert sum(backend.in_flight for backend in backends) == len(self.holds)
        for backend in backends:
            assert sum(backend.running.values()) == backend.in_flight

    def check_line(self, before: set[str]) -> None:
        world = self.world
        waiting = world.admission.waiting()
        assert {view.id for view in waiting} == set(self.tasks)
        for view in waiting:
            for _, candidate in world.decide(view.model):
                backend = candidate.backend
                if backend.name in PLAIN:
                    assert backend.slots is not None
                    assert backend.in_flight >= backend.slots
        for id, name, is_new in self.passing:
            for view in waiting:
                if view.id in before and name in PLAIN and self.waits_for(view.id, name):
                    assert not is_new
                    head_start = HEAD_START * PATIENCE
                    assert self.arrived[id] <= self.arrived[view.id] + head_start

    def waits_for(self, id: str, name: str) -> bool:
        return any(obstacle.backend == name for obstacle in self.world.view(id).waits_for)

    async def finish(self) -> None:
        """As those who run end, all who wait are served, or refused; and nothing is left."""
        world = self.world
        await settled()
        self.gather()
        rounds = 0
        while world.line:
            rounds += 1
            assert self.holds, world.admission.waiting()
            for hold in self.holds:
                hold.release()
            self.holds = []
            await settled()
            self.gather()
        assert rounds < 40
        for hold in self.holds:
            hold.release()
        world.bus.publish(GatewayDraining())
        for backend in world.registry:
            assert (backend.in_flight, backend.running) == (0, {})
        assert world.clock.alarms == 0
        assert world.admission.slots.on_free is None


TestQueueing = Queueing.TestCase
