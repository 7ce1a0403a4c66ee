"""One worker among its siblings: what it tells them, and what it asks them to speak for all.

A client or an operator meets any worker by chance, so whichever is asked answers for all. What is
seen by each for itself (requests, totals, health, lines of the log) is asked of all and merged.
What must be the same in all (which backends there are, their switches and pins, the configuration)
has one owner: the lead discovers, watches and writes the file and runs the verbs, wherever they
were asked for; the others mirror it, and a verb is done when all that answer have done so. Should
the lead die, requests are served on as before; verbs wait for the lead that replaces it.

Health checks are each worker's own: N times as many questions to each backend, all of them cheap,
for workers that need nobody to know what is up. Discovery and mDNS are the lead's alone.

Alone, a worker has no siblings, no socket, and all this costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from nexus_proxy.commands import Result
from nexus_proxy.errors import CommandError, ConfigError, NexusError, NotFoundError
from nexus_proxy.events import (
    AirplaneChanged,
    BackendAdded,
    BackendChanged,
    BackendRemoved,
    Bus,
    ConfigReloaded,
    Event,
    GatewayDraining,
)
from nexus_proxy.registry import Registry
from nexus_proxy.siblings import merge
from nexus_proxy.siblings.merge import Told
from nexus_proxy.siblings.mirror import Lesson, Listings, lesson, listings, mirror
from nexus_proxy.siblings.seat import LEAD, Seat
from nexus_proxy.siblings.wire import Door, Question, SiblingAway, ask, listen
from nexus_proxy.state import BackendState, RequestView, Snapshot
from nexus_proxy.tasks import spawn
from nexus_proxy.telemetry.history import History
from nexus_proxy.telemetry.tally import Tally, total

log = logging.getLogger(__name__)

T = TypeVar("T")

READ_SECONDS = 1.5
"""A sibling that does not answer so long is left out of a view."""
FOLLOW_SECONDS = 5.0
VERB_SECONDS = 60.0
RETRY_SECONDS = 0.5
QUEUED_EVENTS = 256
CHANGES = (BackendAdded, BackendRemoved, BackendChanged, AirplaneChanged, ConfigReloaded)
"""What makes the others look at the lead again."""
Heard = Callable[[dict[str, Any] | None], None]
"""Told of each event of the siblings, as `told_event` has it; None: some were lost."""


class Own(Protocol):
    """The runtime of this worker."""

    bus: Bus
    registry: Registry
    history: History

    def snapshot(self) -> Snapshot:
        """This worker's own view."""
        ...

    def counted(self) -> Tally:
        """What this worker's requests came to."""
        ...

    async def run_command(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run a verb in this worker. Raises `CommandError`."""
        ...

    async def reload_config(self) -> tuple[str, ...]:
        """Read the configuration again. Raises `ConfigError`."""
        ...

    def drop_backend(self, name: str) -> None:
        """Take a backend off the list, without that counting as an operator's wish."""
        ...

    def cancel_own(self, request_id: str) -> None:
        """End a request of this worker. Raises `NotFoundError`, and `CommandError` where it is
        answered already."""
        ...

    def suspect(self, name: str) -> None:
        """Check a backend soon."""
        ...

    async def check_backend(self, name: str) -> str:
        """Check a backend now. Raises `CommandError`."""
        ...


def told_event(event: Event, worker: int | None) -> dict[str, Any]:
    """An event as it is told over HTTP: `type`, the number of its worker, and its fields."""
    told = {"type": type(event).__name__, **msgspec.to_builtins(event)}
    return told if worker is None else {**told, "worker": worker}


class Siblings:
    """The other workers, seen from this one."""

    def __init__(self, seat: Seat, own: Own) -> None:
        self.seat, self._own = seat, own
        self._door: Door | None = None
        self._following: asyncio.Task[None] | None = None
        self._mirroring = asyncio.Lock()
        self._counting = asyncio.Lock()
        self._counted: dict[int, Tally] = {}
        """What each sibling told last; the lead's, as is `_lost`, what those that died had told."""
        self._lost = Tally()

    async def start(self) -> None:
        """Answer the others from now on, and mirror the lead."""
        if not self.seat.others:
            return
        self._door = Door(self.seat.path(self.seat.number), self._answers)
        await self._door.open()
        if not self.seat.is_lead:
            self._following = spawn(self._follow(), name="mirror the lead")

    async def lesson(self) -> Lesson | None:
        """What the first sibling that answers knows; None where nobody does, as at the start."""
        for number in self.seat.others:
            with contextlib.suppress(SiblingAway):
                return await self._ask(number, Question(what="lesson"), Lesson, READ_SECONDS)
        return None

    async def stop(self) -> None:
        """Answer no more."""
        if self._following is not None:
            self._following.cancel()
        if self._door is not None:
            await self._door.close()

    # -- for all -------------------------------------------------------------------------------

    async def snapshot(self) -> Snapshot:
        """All workers as one. Those that do not answer are left out, and named as a problem."""
        own = self._own.snapshot()
        if not self.seat.others:
            return own
        told, away = await self._all(Question(what="snapshot"), Snapshot)
        merged = merge.merge([Told(self.seat.number, own), *(Told(n, s) for n, s in told.items())])
        problems = [f"worker {n} is left out, it does not answer: {why}" for n, why in away.items()]
        return msgspec.structs.replace(merged, problems=(*problems, *merged.problems))

    async def tally(self) -> Tally:
        """What the requests of all workers came to; a copy. Raises `SiblingAway`: a sum without one
        of them would be a counter that goes back."""
        if not self.seat.others:
            return total([self._own.counted()])
        if self.seat.is_lead:
            return await self._total()
        return await self._ask(LEAD, Question(what="total"), Tally, READ_SECONDS * 2)

    async def requests(self, limit: int) -> tuple[RequestView, ...]:
        """All requests that run in any worker and the newest that ended, newest first."""
        own = self._own.history.newest(limit)
        if not self.seat.others:
            return own
        question = Question(what="requests", limit=limit)
        told, _away = await self._all(question, tuple[RequestView, ...])
        return merge.newest({self.seat.number: own, **told}, limit)

    async def request(self, request_id: str) -> RequestView:
        """One request, wherever it ran. Raises `NotFoundError`."""
        try:
            view = self._own.history.get(request_id)
        except NotFoundError:
            question = Question(what="request", id=request_id)
            found, _away = await self._all(question, RequestView | None)
            for worker, there in found.items():
                if there is not None:
                    return merge.tagged(there, worker)
            raise
        return merge.tagged(view, self.seat.tag)

    async def cancel(self, request_id: str) -> None:
        """End a request, wherever it runs. Raises as `Own.cancel_own`."""
        try:
            self._own.cancel_own(request_id)
        except NotFoundError:
            done, refused = await self._all(Question(what="cancel", id=request_id), None)
            if done:
                return
            for error in refused.values():
                if not isinstance(error, (NotFoundError, SiblingAway)):
                    raise error from None
            raise

    async def healths(self) -> list[dict[str, BackendState]]:
        """What each sibling thinks of the backends, by name."""
        told, _away = await self._all(Question(what="health"), dict[str, BackendState])
        return list(told.values())

    async def run_command(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run a verb for all workers. Raises `CommandError`, also where the lead is away."""
        if self.seat.is_lead:
            return await self._lead(name, arguments)
        question = Question(what="run", name=name, arguments=dict(arguments))
        try:
            return await self._ask(LEAD, question, Result, VERB_SECONDS)
        except SiblingAway as error:
            raise CommandError(
                f"worker {LEAD}, which runs the verbs, does not answer ({error}); it is replaced "
                "within seconds if it died: try again"
            ) from None

    async def running(self, name: str) -> Counter[str]:
        """Requests by model that run on a backend in the other workers, once those know what is
        loaded and unloaded there. One that does not answer serves nobody, or is about to end."""
        told, _away = await self._all(Question(what="running", name=name), dict[str, int])
        return sum((Counter(running) for running in told.values()), Counter[str]())

    async def look(self, name: str) -> None:
        """Have the other workers check a backend now."""
        await self._all(Question(what="look", name=name), str, FOLLOW_SECONDS)

    @contextlib.asynccontextmanager
    async def overhearing(self, heard: Heard) -> AsyncIterator[None]:
        """Tell `heard` of the events of all siblings from now on, for the length of the block."""
        listening = [asyncio.Event() for _ in self.seat.others]
        tasks = [
            spawn(self._overhear(number, heard, opened), name=f"overhear worker {number}")
            for number, opened in zip(self.seat.others, listening, strict=True)
        ]
        try:
            for opened in listening:
                await opened.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()

    # -- asking --------------------------------------------------------------------------------

    async def _ask(self, number: int, question: Question, type_: type[T], seconds: float) -> T:
        return await ask(self.seat.path(number), question, type_, seconds=seconds)

    async def _all(
        self, question: Question, type_: Any, seconds: float = READ_SECONDS
    ) -> tuple[dict[int, Any], dict[int, NexusError]]:
        """What all siblings answered at the same time, and why some did not."""
        others = self.seat.others
        told = await asyncio.gather(
            *(self._ask(number, question, type_, seconds) for number in others),
            return_exceptions=True,
        )
        answered, away = {}, {}
        for number, answer in zip(others, told, strict=True):
            if isinstance(answer, NexusError):
                away[number] = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                answered[number] = answer
        return answered, away

    async def _overhear(self, number: int, heard: Heard, opened: asyncio.Event) -> None:
        path = self.seat.path(number)
        while True:
            try:
                async with contextlib.aclosing(listen(path, Question(what="events"))) as events:
                    async for body in events:
                        event = msgspec.msgpack.decode(body)
                        if event is not None or opened.is_set():
                            heard(event)
                        opened.set()
            except SiblingAway:
                opened.set()  # without it, until it is back
            await asyncio.sleep(RETRY_SECONDS)

    # -- the lead, and those who mirror it -----------------------------------------------------

    async def _total(self) -> Tally:
        """As `tally`, with what workers that died since had counted when they told it last."""
        async with self._counting:
            told, away = await self._all(Question(what="tally"), Tally)
            for number, why in away.items():
                raise SiblingAway(f"worker {number} does not answer: {why}; ask again in a moment")
            for number, tally in told.items():
                before = self._counted.get(number)
                if before is not None and before.born != tally.born:
                    self._lost.include(before.bequest())
                self._counted[number] = tally
            return total([self._own.counted(), *told.values(), self._lost])

    async def _lead(self, name: str, arguments: Mapping[str, Any]) -> Result:
        try:
            return await self._own.run_command(name, arguments)
        finally:
            # Also where it failed: a change may be live that could not be kept in the file.
            if self.seat.others:
                backend = str(arguments.get("backend") or "")
                question = Question(what="follow", name=backend)
                _done, away = await self._all(question, None, FOLLOW_SECONDS)
                for number, why in away.items():
                    log.warning("worker %d has not followed %s yet: %s", number, name, why)

    async def _follow(self) -> None:
        """Mirror the lead whenever something changed there, as soon as it can be reached."""
        path = self.seat.path(LEAD)
        changed, reloaded = asyncio.Event(), asyncio.Event()
        applying = spawn(self._apply(changed, reloaded), name="mirror changes")
        try:
            while True:
                with contextlib.suppress(SiblingAway):
                    question = Question(what="changes")
                    async with contextlib.aclosing(listen(path, question)) as events:
                        async for body in events:
                            event = msgspec.msgpack.decode(body)
                            if event is None or event["type"] == ConfigReloaded.__name__:
                                reloaded.set()
                            changed.set()
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            applying.cancel()

    async def _apply(self, changed: asyncio.Event, reloaded: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            reload = reloaded.is_set()
            reloaded.clear()
            with contextlib.suppress(SiblingAway):
                await self._mirror(reload=reload)

    async def _mirror(self, *, reload: bool) -> None:
        async with self._mirroring:
            if reload:
                # What is wrong with the file is published, and the lead says it too.
                with contextlib.suppress(ConfigError):
                    await self._own.reload_config()
            wanted = await self._ask(LEAD, Question(what="listings"), Listings, READ_SECONDS)
            mirror(self._own.registry, wanted, self._own.drop_backend)

    # -- answering -----------------------------------------------------------------------------

    async def _answers(self, question: Question) -> AsyncIterator[Any]:
        own = self._own
        match question.what:
            case "snapshot":
                yield own.snapshot()
            case "tally" | "total" as what:
                yield own.counted() if what == "tally" else await self._total()
            case "requests" | "request" | "cancel":
                yield self._of_requests(question)
            case "health":
                yield {backend.name: backend.health for backend in own.registry}
            case "lesson" | "listings" as what:
                yield (lesson if what == "lesson" else listings)(own.registry)
            case "run":
                yield await self._lead(question.name, question.arguments)
            case "follow":
                await self._mirror(reload=True)
                own.suspect(question.name)
                yield None
            case "running" | "look" as what:
                here = self._running_here if what == "running" else self._look_here
                yield await here(question.name)
            case "changes" | "events" as what:
                async for event in self._events(*(CHANGES if what == "changes" else ())):
                    yield event

    def _of_requests(self, question: Question) -> tuple[RequestView, ...] | RequestView | None:
        if question.what == "requests":
            return self._own.history.newest(question.limit)
        if question.what == "request":
            return self._request(question.id)
        self._own.cancel_own(question.id)
        return None

    async def _running_here(self, name: str) -> dict[str, int]:
        await self._mirror(reload=False)
        registry = self._own.registry
        return dict(registry.get(name).running) if name in registry else {}

    async def _look_here(self, name: str) -> str:
        try:
            return await self._own.check_backend(name)
        except CommandError as error:  # which it would say to an operator
            return error.message

    def _request(self, request_id: str) -> RequestView | None:
        try:
            return self._own.history.get(request_id)
        except NotFoundError:
            return None

    async def _events(self, *kinds: type[Event]) -> AsyncIterator[dict[str, Any] | None]:
        """Events from now on; None at first, and wherever some were lost."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(QUEUED_EVENTS + 1)

        def heard(event: Event) -> None:
            if isinstance(event, GatewayDraining):
                return  # each worker says for itself that it drains
            if queue.qsize() < QUEUED_EVENTS:
                queue.put_nowait(event)
            elif not queue.full():
                queue.put_nowait(None)

        unsubscribe = self._own.bus.subscribe(heard, *kinds)
        try:
            yield None
            while True:
                event = await queue.get()
                yield None if event is None else told_event(event, self.seat.number)
        finally:
            unsubscribe()
