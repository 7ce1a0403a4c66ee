"""Operations on models: who asked shares them, and no client that leaves ends one.

An operation runs as a task of its own. Whoever asks for the same thing meanwhile gets the same
one; what contradicts a running one is refused, and what concerns the same backend waits its turn.
While a model is being loaded or unloaded, a claim on the backend (`Backend.claims`) makes requests
for it go elsewhere or wait in the queue, so that:

- a load harms nobody: a backend that kills what runs to make room is drained of it first;
- an unload drops nothing: what runs on the model finishes first;
- a move is a load there, looked at until it serves, and only then an unload here.

What an operator unloaded is not loaded again by a request that another backend can serve (see
`routing.schedule`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from nexus_proxy.admission.queue import Admission
from nexus_proxy.admission.swaps import would_evict
from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.address import is_loopback
from nexus_proxy.backends.base import LoadFailed, Target
from nexus_proxy.config.model import Config
from nexus_proxy.errors import CommandError, NotFoundError, StoreUnavailableError
from nexus_proxy.events import BackendRemoved, Bus, Event, OperationChanged
from nexus_proxy.lifecycle import memory
from nexus_proxy.lifecycle.operation import Operation, sentence
from nexus_proxy.lifecycle.times import LOAD, LoadTimes, save
from nexus_proxy.registry import Backend, Claim, Registry
from nexus_proxy.routing.types import Candidate
from nexus_proxy.state import BackendState, ModelInfo, OperationKind, OperationPhase, OperationView
from nexus_proxy.store.sqlite import Store
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    import httpx

KEPT = 50
"""Operations that ended and are still shown."""
LOOKS, LOOK_SECONDS = 5, 0.5
"""How often a backend is looked at after it said that it is done, and the pause between."""

_LOAD, _UNLOAD, _MIGRATE = OperationKind.LOAD, OperationKind.UNLOAD, OperationKind.MIGRATE
_DRAINING = OperationPhase.DRAINING
Work = Coroutine[Any, Any, None]


class Others(Protocol):
    """The other processes that serve as one gateway with this one."""

    async def running(self, name: str) -> Counter[str]:
        """Requests by model that run on a backend in them, after they have heard of its claims."""
        ...

    async def look(self, name: str) -> None:
        """Have them check a backend now."""
        ...


class Lifecycle:
    """Owns the operations. `check` looks at a backend now, and `repin` moves a model's pin."""

    def __init__(
        self,
        *,
        registry: Registry,
        bus: Bus,
        admission: Admission,
        get_config: Callable[[], Config],
        make_client: Callable[[], httpx.AsyncClient],
        environ: Mapping[str, str],
        check: Callable[[str], Awaitable[object]],
        repin: Callable[[str, str], None],
        others: Others,
    ) -> None:
        self._registry, self._bus, self._admission = registry, bus, admission
        self._get_config, self._make_client, self._environ = get_config, make_client, environ
        self._check, self._repin, self._others = check, repin, others
        self.times = LoadTimes()
        self._store: Store | None = None
        self._client: httpx.AsyncClient | None = None
        self._running: dict[str, Operation] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ended: deque[Operation] = deque(maxlen=KEPT)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        bus.subscribe(self._backend_left, BackendRemoved)

    async def recall(self, store: Store) -> None:
        """Know what earlier runs learnt of load times, and keep what comes."""
        self._store = store
        with contextlib.suppress(StoreUnavailableError):  # which is shown; they are learnt anew
            self.times.take_over(await store.read(lambda c: c.execute(LOAD).fetchall()))

    async def stop(self) -> None:
        """End all operations. What a backend was told to do, it may go on doing."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    # -- what operators ask --------------------------------------------------------------------

    def load(self, model: str, backend: str) -> OperationView:
        """Have a model loaded. Raises `CommandError` where that cannot be."""
        place, info = self._place(backend, model)
        operation = Operation(_LOAD, info.id, place.name, None)
        return self._start(operation, lambda: self._load(operation, place, info.id))

    def unload(self, model: str, backend: str) -> OperationView:
        """Have a model unloaded, once what runs on it has finished. Raises `CommandError`."""
        place, info = self._place(backend, model)
        operation = Operation(_UNLOAD, info.id, place.name, None)
        return self._start(operation, lambda: self._unload(operation, place, info.id))

    def migrate(self, model: str, source: str, target: str) -> OperationView:
        """Have a model loaded on `target` and then unloaded on `source`. Raises `CommandError`."""
        here, info = self._place(source, model)
        there, info_there = self._place(target, model)
        if here is there:
            raise CommandError(f"{info.id} is on {here.name} already: name another target")
        operation = Operation(_MIGRATE, info.id, here.name, there.name)
        return self._start(
            operation, lambda: self._move(operation, (here, info.id), (there, info_there.id))
        )

    def views(self) -> tuple[OperationView, ...]:
        """Those that run, then those that ended, newest first."""
        running = reversed(self._running.values())
        return tuple(operation.view() for operation in (*running, *self._ended))

    # -- running -------------------------------------------------------------------------------

    def _place(self, name: str, model: str) -> tuple[Backend, ModelInfo]:
        """A backend that can be told what to do with a model that it lists."""
        backend = self._registry.get(name)
        if backend.state in (BackendState.DOWN, BackendState.DISABLED, BackendState.UNKNOWN):
            raise CommandError(f"{name} is {backend.state.value}: nothing can be loaded there now")
        info = _listed(backend, model)
        if info.remote:
            raise CommandError(f"{info.id} is run elsewhere by {name}: there is nothing to load")
        if not backend.loads_when_told:
            how = adapter_for(backend.type).loads_how
            raise CommandError(f"{name} loads and unloads no models on command: {how}")
        return backend, info

    def _start(self, operation: Operation, work: Callable[[], Work]) -> OperationView:
        for other in self._running.values():
            if other.key == operation.key:
                return other.view()
            if not other.places.isdisjoint(operation.places):
                raise CommandError(
                    f"{sentence(other.view())} ({other.id}): wait for its end, "
                    "`nexus models operations` shows it"
                )
        if self._turns[operation.acts_on].locked():
            operation.phase = OperationPhase.WAITING
        operation.eta_seconds = self.times.get(operation.acts_on, operation.model)
        self._running[operation.id] = operation
        self._tasks[operation.id] = spawn(
            self._run(operation, work), name=operation.id, on_end=lambda: self._over(operation)
        )
        self._tell(operation)
        return operation.view()

    async def _run(self, operation: Operation, work: Callable[[], Work]) -> None:
        seconds = self._get_config().lifecycle.timeout_ms / 1000.0
        try:
            async with asyncio.timeout(seconds):
                await work()
            operation.error = None
        except (LoadFailed, CommandError) as failure:
            operation.error = str(failure)
        except TimeoutError:
            late = f"within {seconds:g} s (lifecycle.timeout_ms)"
            operation.error = f"{operation.acts_on} was not done {late}, and may go on by itself"
            if operation.phase is _DRAINING:
                operation.error = f"requests on {operation.acts_on} did not finish {late}"

    def _over(self, operation: Operation) -> None:
        operation.end()
        del self._running[operation.id], self._tasks[operation.id]
        self._ended.appendleft(operation)
        self._tell(operation)

    def _enter(self, operation: Operation, phase: OperationPhase, backend: Backend) -> None:
        operation.enter(phase, backend.name)
        self._tell(operation)

    def _tell(self, operation: Operation) -> None:
        view = operation.view()
        what = sentence(view)
        if what == operation.told:
            return
        operation.told = what
        failed = view.phase is OperationPhase.FAILED
        self._bus.publish(OperationChanged(id=view.id, what=what, failed=failed))

    def _backend_left(self, event: Event) -> None:
        assert isinstance(event, BackendRemoved)
        for operation in self._running.values():
            if event.name in (operation.backend, operation.target):
                self._tasks[operation.id].cancel()

    # -- steps ---------------------------------------------------------------------------------

    async def _load(self, operation: Operation, backend: Backend, model: str) -> None:
        async with self._turns[backend.name]:
            self._enter(operation, OperationPhase.LOADING, backend)
            await self._check(backend.name)
            info = _listed(backend, model)
            if info.loaded is not True:
                await self._load_now(operation, backend, info)
            self._registry.park(backend, model, False)

    async def _load_now(self, operation: Operation, backend: Backend, info: ModelInfo) -> None:
        config, now = self._get_config(), time.monotonic()
        gpu = await memory.gpu_of_this_machine() if is_loopback(backend.url) else None
        if (why := memory.refusal(backend, info, config.lifecycle, gpu)) is not None:
            raise LoadFailed(f"there is no room for it: {why}")
        eta = self.times.get(backend.name, info.id)
        until = now + config.timeouts.load_seconds
        claim = Claim(True, until, None if eta is None else now + eta)
        with self._claiming(backend, info, claim):
            if backend.max_loaded is not None:
                await self._drain(
                    operation, backend, lambda running: _evicted(backend, info, running)
                )
                self._enter(operation, OperationPhase.LOADING, backend)
            began = time.monotonic()
            adapter = adapter_for(backend.type)
            await adapter.load(self._http(), self._target(backend), info)
            self._learn(backend, info, time.monotonic() - began)
            if not await self._shows(backend, info.id, loaded=True):
                raise LoadFailed(f"{backend.name} says that it is done, but does not list it so")

    async def _unload(self, operation: Operation, backend: Backend, model: str) -> None:
        async with self._turns[backend.name]:
            self._enter(operation, OperationPhase.UNLOADING, backend)
            await self._check(backend.name)
            info = _listed(backend, model)
            if info.loaded is False and not backend.running.get(model):
                self._registry.park(backend, model, True)
                return
            until = time.monotonic() + self._get_config().timeouts.load_seconds
            with self._claiming(backend, info, Claim(False, until)):
                models = _going(backend, info)
                await self._drain(
                    operation, backend, lambda running: sum(running.get(m, 0) for m in models)
                )
                self._enter(operation, OperationPhase.UNLOADING, backend)
                adapter = adapter_for(backend.type)
                await adapter.unload(self._http(), self._target(backend), info)
                self._registry.park(backend, model, True)
                await self._shows(backend, model, loaded=False)

    async def _shows(self, backend: Backend, model: str, *, loaded: bool) -> bool:
        """Look at the backend until its list says so too. A server that has just loaded a model may
        be too busy for the first looks."""
        for _ in range(LOOKS):
            await self._check(backend.name)
            if _listed(backend, model).loaded in (loaded, None):
                await self._others.look(backend.name)
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _move(
        self, operation: Operation, here: tuple[Backend, str], there: tuple[Backend, str]
    ) -> None:
        await self._load(operation, *there)
        await self._unload(operation, *here)
        if self._registry.pins.get(operation.model) == operation.backend:
            self._repin(operation.model, there[0].name)

    async def _drain(
        self, operation: Operation, backend: Backend, left: Callable[[Mapping[str, int]], int]
    ) -> None:
        """Wait until nothing is left of what runs, here and in the other workers."""

        def is_clear() -> bool:
            operation.waits_for = left(backend.running)
            return operation.waits_for == 0

        while True:
            elsewhere = left(await self._others.running(backend.name))
            if is_clear() and not elsewhere:
                return
            if operation.phase is not _DRAINING:
                self._enter(operation, _DRAINING, backend)
            await self._admission.drained(backend, is_clear)
            if elsewhere:
                operation.waits_for = elsewhere
                await asyncio.sleep(LOOK_SECONDS)

    @contextmanager
    def _claiming(self, backend: Backend, info: ModelInfo, claim: Claim) -> Iterator[None]:
        models = _going(backend, info)
        for model in models:
            self._registry.claim(backend, model, claim)
        try:
            yield
        finally:
            for model in models:
                self._registry.claim(backend, model, None)

    def _learn(self, backend: Backend, info: ModelInfo, seconds: float) -> None:
        mean = self.times.learn(backend.name, info.id, seconds)
        if self._store is not None:
            self._store.post(lambda connection: save(connection, backend.name, info.id, mean))

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = self._make_client()
        return self._client

    def _target(self, backend: Backend) -> Target:
        variable = backend.api_key_env
        key = self._environ.get(variable, "").strip() if variable else ""
        return Target(base_url=backend.url, api_key=key or None)


def _listed(backend: Backend, name: str) -> ModelInfo:
    """The model that `name` means there. Raises `NotFoundError`."""
    models = backend.models
    for id_ in (name, f"{name}:latest", name.removesuffix(":latest")):
        if id_ in models:
            return models[id_]
    for model in models.values():
        if name in model.aliases:
            return model
    known = ", ".join(list(models)[:8]) or "none"
    raise NotFoundError(f"{backend.name} has no model {name!r} (it has: {known})")


def _going(backend: Backend, info: ModelInfo) -> list[str]:
    """What is loaded and unloaded with a model: all, where the server has one memory for them."""
    return list(backend.models) if adapter_for(backend.type).loads_all else [info.id]


def _evicted(backend: Backend, info: ModelInfo, running: Mapping[str, int]) -> int:
    """How many of those that run would be killed if the model came now."""
    if would_evict(Candidate(backend, info, info.id, backend.zone), running) is None:
        return 0
    return sum(count for model, count in running.items() if model != info.id)
