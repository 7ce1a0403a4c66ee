"""A fleet, a queue before it, and a clock that stands still until it is told to go on."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from nexus_proxy.admission.queue import Admission, Pulse, options
from nexus_proxy.admission.slots import Hold
from nexus_proxy.admission.waiter import Seat
from nexus_proxy.config.model import BackendType, Priority, QueueConfig, RoutingConfig, Zone
from nexus_proxy.events import Bus
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import Candidate, RequestFacts
from nexus_proxy.state import BackendState, ModelInfo, Probe, Source, Traits, WaiterView
from nexus_proxy.tasks import spawn

SETTLED = 5
"""Rounds of the loop after which everything that was woken has run."""


class Alarm:
    """A timer of the clock."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._alarms: list[tuple[float, int, Alarm, Callable[[], None]]] = []
        self._number = itertools.count()

    def __call__(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Alarm:
        alarm = Alarm()
        heapq.heappush(self._alarms, (self.now + seconds, next(self._number), alarm, callback))
        return alarm

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self._alarms and self._alarms[0][0] <= end:
            self.now, _, alarm, callback = heapq.heappop(self._alarms)
            if not alarm.cancelled:
                callback()
        self.now = end

    @property
    def alarms(self) -> int:
        """How many timers are set."""
        return sum(not alarm.cancelled for _, _, alarm, _ in self._alarms)


class World:
    """Requests, as the relay makes them: take a slot, or wait for one."""

    def __init__(self, routing: RoutingConfig | None = None, **queue: Any) -> None:
        self.bus = Bus()
        self.registry = Registry(self.bus)
        self.clock = Clock()
        self.config = QueueConfig(**queue)
        self.rules = Rules(routing or RoutingConfig())
        self.broken: str | None = None
        """The request whose routing meets a bug."""
        self.admission = Admission(
            self.bus,
            get_config=lambda: self.config,
            clock=self.clock,
            call_later=self.clock.call_later,
        )

    def add(self, name: str, *models: str | ModelInfo, slots: int | None = None) -> Backend:
        """A backend that is up and told how many slots it has."""
        return self.add_kind(name, *models, slots=slots, traits=Traits())

    def add_kind(
        self,
        name: str,
        *models: str | ModelInfo,
        traits: Traits,
        slots: int | None = None,
        max_loaded: int | None = None,
    ) -> Backend:
        backend = Backend(
            name=name,
            url=f"http://{name}",
            address=name,
            type=BackendType.GENERIC,
            traits=traits,
            source=Source.CONFIG,
            origin="test",
            zone=Zone.RESTRICTED,
        )
        self.registry.add(backend)
        self.registry.mark(name, BackendState.UP)
        self.see(name, *models or ("m",), slots=slots, max_loaded=max_loaded)
        return backend

    def see(self, name: str, *models: str | ModelInfo, **told: Any) -> None:
        """A health check of `name` shows these models."""
        infos = tuple(m if isinstance(m, ModelInfo) else ModelInfo(id=m) for m in models)
        self.registry.seen(name, Probe(models=infos, **told), probe_ms=1.0)

    def load(self, name: str, *loaded: str) -> None:
        """A health check of `name` shows these of its models loaded, the others not."""
        models = self.registry.get(name).models.values()
        self.see(name, *(msgspec.structs.replace(m, loaded=m.id in loaded) for m in models))

    def decide(
        self, model: str = "m", *, zone: Zone = Zone.OPEN
    ) -> Iterator[tuple[Decision, Candidate]]:
        facts = RequestFacts(model_asked=model, zone=zone)
        return options(plan(facts, self.registry, self.rules))

    def take(self, model: str = "m") -> Hold | None:
        """A slot for a newcomer, if one is free for it."""
        for _, candidate in self.decide(model):
            if (hold := self.admission.take(candidate)) is not None:
                return hold
        return None

    def fill(self, model: str = "m") -> list[Hold]:
        """Take slots until there is none."""
        holds = []
        while (hold := self.take(model)) is not None:
            holds.append(hold)
        return holds

    def wait(
        self,
        id: str,
        model: str = "m",
        *,
        priority: Priority = Priority.NORMAL,
        zone: Zone = Zone.OPEN,
        pulse: Pulse | None = None,
        pulse_seconds: float = 0.001,
    ) -> asyncio.Task[Seat]:
        """A request that waits, from the next round of the loop on."""

        def decide() -> Iterator[tuple[Decision, Candidate]]:
            if self.broken == id:
                raise ZeroDivisionError
            return self.decide(model, zone=zone)

        coming = self.admission.wait(
            decide,
            id=id,
            model=model,
            priority=priority,
            pulse=pulse,
            pulse_seconds=pulse_seconds,
        )
        return spawn(coming, name=id)

    async def waiting(self, *ids: str, model: str = "m") -> list[asyncio.Task[Seat]]:
        """Requests that wait, in this order."""
        tasks = [self.wait(one, model) for one in ids]
        await settled()
        return tasks

    @property
    def line(self) -> list[str]:
        return [view.id for view in self.admission.waiting()]

    def view(self, id: str) -> WaiterView:
        return next(view for view in self.admission.waiting() if view.id == id)


async def settled() -> None:
    """Let the loop run what is ready."""
    for _ in range(SETTLED):
        await asyncio.sleep(0)


def where(task: asyncio.Task[Seat]) -> str:
    """Which backend a request was seated on."""
    return task.result().candidate.backend.name
