"""The queue: who waits for a slot, and whose turn it is when one becomes free.

Backends queue silently and without limit, so we queue before them. A request waits only while
somebody could serve it and all of those are busy; slots are those of the configuration, else those
that the backend told. Both count: the ones that tell (llama.cpp, LM Studio) queue without a word,
in threads that run out, while vLLM, which queues well, does not tell. Unknown slots are no limit,
and neither is `busy_elsewhere`, which is up to ten seconds old and whose end nobody announces.

When a slot is released, or a backend came up, changed or left, those who may profit are routed
anew, in the order of their ranks (see `waiter`), and the first that can be served is given the slot
there and then: before the release returns, so that no request that arrives in the same moment can
take it. One that cannot be served yet keeps its place and holds up nobody. One that leaves after it
was given a slot passes it on.

A change of models waits for the busy model to drain (see `swaps`), and those who want the loaded
model go before those of their class that want another one: within bounds. A request that was passed
by `SWAP_AFTER_SERVED` others, or has waited for `SWAP_SHARE` of its patience, goes first on the
best backend that it waits for; requests for other models wait behind it there, whatever their
class.
"""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import cast

from nexus_proxy.admission import busy
from nexus_proxy.admission.claims import claimed
from nexus_proxy.admission.slots import Hold, Slots
from nexus_proxy.admission.swaps import is_cold, would_evict
from nexus_proxy.admission.waiter import SWAP_SHARE, Decide, Seat, Timer, Wait, Waiter
from nexus_proxy.config.model import Priority, QueueConfig
from nexus_proxy.errors import GatewayStoppingError, NexusError
from nexus_proxy.events import (
    BackendAdded,
    BackendChanged,
    BackendRemoved,
    Bus,
    ConfigReloaded,
    Event,
    GatewayDraining,
    RequestQueued,
)
from nexus_proxy.registry import Backend
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.routing.refusal import refuse
from nexus_proxy.routing.types import Candidate
from nexus_proxy.state import Obstacle, QueueView, WaiterView

SWAP_AFTER_SERVED = 8
PULSE_SECONDS = 1.0

CallLater = Callable[[float, Callable[[], None]], Timer]
Pulse = Callable[[], Awaitable[None]]


def options(plan: Iterable[Decision]) -> Iterator[tuple[Decision, Candidate]]:
    """All who could serve a request, over its model and the fallback chain; what `Admission.wait`
    is offered. Raises `RoutingRefusedError` or `ContextOverflowError` where there is nobody."""
    decisions = []
    for decision in plan:
        decisions.append(decision)
        for candidate in decision.candidates:
            yield decision, candidate
    if not any(decision.candidates for decision in decisions):
        raise refuse(decisions)


class Admission:
    """Gives out slots, now or later. `slots` counts them.

    `clock` yields monotonic seconds and `call_later(seconds, callback)` sets a timer by it; the
    running loop's by default.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        get_config: Callable[[], QueueConfig],
        clock: Callable[[], float] = time.monotonic,
        call_later: CallLater | None = None,
    ) -> None:
        self.slots = Slots(clock)
        self._bus, self._get_config = bus, get_config
        self._clock, self._call_later = clock, call_later or _by_the_loop
        self._line: list[Waiter] = []
        self._freed: dict[str, Backend] = {}
        """Where a slot may be free that has not been offered yet."""
        self._changed = False
        """Whether everybody is to be routed anew."""
        self._settling = False
        self._stopping = False
        self._watches: list[tuple[Backend, asyncio.Event]] = []
        """Who wants to know that a slot of a backend was released."""
        changes = (BackendAdded, BackendChanged, BackendRemoved, ConfigReloaded)
        bus.subscribe(self._note_change, *changes)
        bus.subscribe(self._stop, GatewayDraining)

    # -- slots ---------------------------------------------------------------------------------

    def take(self, candidate: Candidate) -> Hold | None:
        """A slot of the candidate's backend, from now on; to be entered at once. None: it has none
        free, or someone who waits goes first."""
        if self._line and (self._freed or self._changed):
            self._settle()
        if self._obstacle(candidate, None) is not None:
            return None
        return self._occupy(candidate)

    async def wait(
        self,
        decide: Decide,
        *,
        id: str,
        model: str,
        priority: Priority = Priority.NORMAL,
        pulse: Pulse | None = None,
        pulse_seconds: float = PULSE_SECONDS,
    ) -> Seat:
        """Wait for the first slot of whoever `decide` offers; cancelling it leaves the queue.

        `pulse` is awaited every `pulse_seconds` meanwhile. Raises `QueueFullError`,
        `QueueTimeoutError`, `GatewayStoppingError`, what `decide` raises (nobody is left) and what
        `pulse` raises.
        """
        if self._stopping:
            raise _stopping()
        patience = self._get_config().max_wait_seconds
        waiter = Waiter(
            decide, id=id, model=model, priority=priority, since=self._clock(), patience=patience
        )
        self._settle()
        self._route(waiter)
        if waiter.turn.done():
            return waiter.turn.result()
        self._join(waiter)
        try:
            while pulse is not None and not waiter.turn.done():
                await asyncio.wait((waiter.turn,), timeout=pulse_seconds)
                if not waiter.turn.done():
                    await pulse()
            return await waiter.turn
        except BaseException:
            waiter.abandon()
            self._remove(waiter)
            self._settle()
            raise

    async def drained(self, backend: Backend, is_clear: Callable[[], bool]) -> None:
        """Wait until `is_clear`, which is asked whenever a slot of the backend was released."""
        watch = (backend, asyncio.Event())
        self._watches.append(watch)
        self._listen()
        try:
            while not is_clear():
                await watch[1].wait()
                watch[1].clear()
        finally:
            self._watches.remove(watch)
            self._listen()

    # -- reading -------------------------------------------------------------------------------

    def view(self) -> QueueView:
        """The queue as a frozen value."""
        config = self._get_config()
        return QueueView(
            enabled=config.enabled,
            max_size=config.max_size,
            max_wait_seconds=config.max_wait_seconds,
            waiting=self.waiting(),
        )

    def waiting(self) -> tuple[WaiterView, ...]:
        """Who waits, in the order of service."""
        ahead: Counter[frozenset[str]] = Counter()
        views = []
        for position, waiter in enumerate(self._line, start=1):
            views.append(
                WaiterView(
                    id=waiter.id,
                    model=waiter.model,
                    priority=waiter.priority,
                    since=waiter.started,
                    position=position,
                    eta_seconds=self._eta(waiter, ahead),
                    waits_for=tuple(
                        Obstacle(backend=name, model=wait.model, why=wait.why)
                        for name, wait in waiter.waits.items()
                    ),
                )
            )
            ahead[frozenset(waiter.waits)] += 1
        return tuple(views)

    def _eta(self, waiter: Waiter, ahead: Counter[frozenset[str]]) -> float | None:
        """Seconds until its turn, or None where nothing was measured.

        (rivals ahead + 1) / (slots that become free a second on all the backends that it waits
        for); where a model must drain first, the time until the change goes first and the longest
        mean of what runs there; where one is being loaded, what is left of the time that took
        before. The soonest of them.
        """
        names = waiter.waits.keys()
        rivals = sum(number for others, number in ahead.items() if not names.isdisjoint(others))
        rate, etas = 0.0, []
        for wait in waiter.waits.values():
            if wait.claim is not None:
                if wait.claim.ready_at is not None:
                    etas.append(max(0.0, wait.claim.ready_at - self._clock()))
            elif not wait.swap:
                rate += self.slots.freed_per_second(wait.backend)
            elif (drained := self.slots.longest_seconds(wait.backend)) is not None:
                etas.append(max(0.0, waiter.swaps_at - self._clock()) + drained)
        if rate:
            etas.append((rivals + 1) / rate)
        return round(min(etas), 1) if etas else None

    # -- coming and going ----------------------------------------------------------------------

    def _join(self, waiter: Waiter) -> None:
        config = self._get_config()
        if not config.enabled or len(self._line) >= config.max_size:
            eta = self._eta(waiter, self._all_ahead())
            raise busy.full(waiter, config, len(self._line), eta)
        insort(self._line, waiter, key=lambda w: w.rank)
        self._listen()
        patience = config.max_wait_seconds
        waiter.timers.append(self._call_later(patience, lambda: self._late(waiter, patience)))
        waiter.timers.append(self._call_later(patience * SWAP_SHARE, lambda: self._due(waiter)))
        self._tell(waiter, waits=True)

    def _remove(self, waiter: Waiter) -> None:
        """Take it out of the line, and let those look again whom it held up."""
        if waiter not in self._line:
            return
        self._line.remove(waiter)
        for timer in waiter.timers:
            timer.cancel()
        self._note_waits(waiter)
        if not self._line:
            self._listen()
            self._freed.clear()
            self._changed = False
        self._tell(waiter, waits=False)

    def _late(self, waiter: Waiter, patience: float) -> None:
        self._settle()
        if waiter.turn.done():
            return
        if (more := self._load_patience(waiter)) > 0:  # who waits for a load has its clock
            waiter.timers.append(self._call_later(more, lambda: self._late(waiter, patience)))
            return
        self._remove(waiter)
        waiter.fail(busy.late(waiter, patience, self._eta(waiter, self._all_ahead())))
        self._settle()

    def _load_patience(self, waiter: Waiter) -> float:
        """Seconds that it waits still for a model that is being loaded."""
        claims = [wait.claim for wait in waiter.waits.values() if wait.claim is not None]
        return max((claim.until for claim in claims if claim.loads), default=0.0) - self._clock()

    def _due(self, waiter: Waiter) -> None:
        """It has waited for a change of models as long as it must."""
        self._note_waits(waiter)
        self._settle()

    def _note_waits(self, waiter: Waiter) -> None:
        for name, wait in waiter.waits.items():
            if wait.backend.traits.swaps:
                self._freed[name] = wait.backend

    def _tell(self, waiter: Waiter, *, waits: bool) -> None:
        if self._bus.follows_requests:
            self._bus.publish(RequestQueued(id=waiter.id, waits=waits))

    def _all_ahead(self) -> Counter[frozenset[str]]:
        return Counter(frozenset(waiter.waits) for waiter in self._line)

    # -- waking --------------------------------------------------------------------------------

    def _listen(self) -> None:
        self.slots.on_free = self._note_free if self._line or self._watches else None

    def _note_free(self, backend: Backend) -> None:
        for watched, released in self._watches:
            if watched is backend:
                released.set()
        if self._line:
            self._freed[backend.name] = backend
            self._settle()

    def _note_change(self, event: Event) -> None:
        if isinstance(event, BackendRemoved):
            self.slots.forget(event.name)
        if self._line and not self._changed:
            # Not at once: a reload changes many backends in a row.
            self._changed = True
            asyncio.get_running_loop().call_soon(self._settle)

    def _stop(self, _event: Event) -> None:
        self._stopping = True
        for waiter in tuple(self._line):
            self._remove(waiter)
            if not waiter.turn.done():
                waiter.fail(_stopping())

    def _settle(self) -> None:
        """Offer what has become free to those who wait for it, until nobody can be served."""
        if self._settling:
            return
        self._settling = True
        try:
            while self._line and (self._freed or self._changed):
                everybody, freed = self._changed, self._freed
                self._changed, self._freed = False, {}
                self._offer(None if everybody else freed)
        finally:
            self._settling = False

    def _offer(self, freed: dict[str, Backend] | None) -> None:
        for waiter in tuple(self._line):
            if waiter.turn.done():
                continue  # cancelled a moment ago
            if freed is not None and freed.keys().isdisjoint(waiter.waits):
                continue
            self._route(waiter)
            if waiter.turn.done():
                self._remove(waiter)
                if freed is not None and all(_is_full(backend) for backend in freed.values()):
                    return

    def _route(self, waiter: Waiter) -> None:
        """Route it anew: settles its turn, or notes what it waits for now."""
        waits: dict[str, Wait] = {}
        try:
            for decision, candidate in waiter.decide():
                wait = self._obstacle(candidate, waiter)
                if wait is None:
                    waiter.seat(Seat(decision, candidate, self._occupy(candidate)))
                    return
                waiter.decision = decision if not waits else waiter.decision
                waits.setdefault(wait.backend.name, wait)
            if not waits:
                raise NexusError(f"routing left nobody for {waiter.model!r} and did not say why")
        except Exception as error:  # noqa: BLE001 - it is this request's, and ends only its wait
            waiter.fail(error)
        else:
            waiter.waits = waits

    def _occupy(self, candidate: Candidate) -> Hold:
        backend, model = cast(Backend, candidate.backend), candidate.model.id
        if self._line and backend.traits.swaps:
            for waiter in self._line:
                wait = waiter.waits.get(backend.name)
                if wait is not None and wait.swap and wait.model != model:
                    waiter.passed += 1
        return self.slots.hold(backend, model)

    # -- obstacles -----------------------------------------------------------------------------

    def _obstacle(self, candidate: Candidate, waiter: Waiter | None) -> Wait | None:
        """What keeps the candidate from serving now, if anything; `waiter` is who asks."""
        backend = cast(Backend, candidate.backend)
        if backend.claims and (held := claimed(backend, candidate.model.id)) is not None:
            return Wait(backend, candidate.model.id, held[1], swap=False, claim=held[0])
        if backend.traits.swaps:
            why = would_evict(candidate, backend.running)
            if why is None and self._line:
                why = self._swap_ahead(candidate, waiter)
            if why is not None:
                return Wait(backend, candidate.model.id, why, swap=True)
        limit = backend.slots
        if limit is None or backend.in_flight < limit:
            return None
        why = "its only slot is taken" if limit == 1 else f"all {limit} slots taken"
        return Wait(backend, candidate.model.id, why, swap=False)

    def _swap_ahead(self, candidate: Candidate, waiter: Waiter | None) -> str | None:
        """Who goes first on a backend that changes models, if anybody does."""
        backend, model = cast(Backend, candidate.backend), candidate.model.id
        others = [other for other in self._line if not other.turn.done()]
        is_overdue = waiter is not None and self._is_overdue(waiter)
        for other in others:
            if other is waiter and is_overdue:
                break
            claimed = self._claimed(other)
            if claimed is not None and claimed.backend is backend and claimed.model != model:
                return f"swap: {claimed.model} goes first"
        if is_overdue or not is_cold(backend, candidate.model):
            return None
        for other in others:
            wait = other.waits.get(backend.name)
            if wait is None or wait.model == model or not _may_pass(other, waiter):
                continue
            wanted = backend.models.get(wait.model)
            if wanted is not None and not is_cold(backend, wanted):
                return f"swap: {wait.model} is loaded, and others wait for it"
        return None

    def _is_overdue(self, waiter: Waiter) -> bool:
        """Whether it has waited for a change of models as long as it must."""
        return waiter.passed >= SWAP_AFTER_SERVED or self._clock() >= waiter.swaps_at

    def _claimed(self, waiter: Waiter) -> Wait | None:
        """Where it goes first: on the best backend that it waits to drain, once it is overdue."""
        if not self._is_overdue(waiter):
            return None
        return next((wait for wait in waiter.waits.values() if wait.swap), None)


def _is_full(backend: Backend) -> bool:
    return backend.slots is not None and backend.in_flight >= backend.slots


def _may_pass(other: Waiter, waiter: Waiter | None) -> bool:
    """Whether `other`, for the sake of the model that is loaded, may go before `waiter`."""
    return waiter is None or other.priority is waiter.priority or other.rank <= waiter.rank


def _stopping() -> GatewayStoppingError:
    return GatewayStoppingError("this gateway is stopping: the request no longer waits for a slot")


def _by_the_loop(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)
