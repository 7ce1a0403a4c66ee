"""The health checker: a watch for each listed backend, and what others may ask of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from nexus_proxy.config.model import Config
from nexus_proxy.errors import CommandError
from nexus_proxy.events import (
    AirplaneChanged,
    BackendAdded,
    BackendChanged,
    BackendRemoved,
    Bus,
    ConfigReloaded,
    Event,
)
from nexus_proxy.health.look import Finding, Looker
from nexus_proxy.health.watch import Watch
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import BackendState, Source
from nexus_proxy.tasks import spawn
from nexus_proxy.wording import plural

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
TICK_SECONDS = 5.0
ASLEEP_SECONDS = 30.0
"""A tick that took this much longer than it should: the machine slept, or we were stopped."""


class HealthChecker:
    """Keeps the health of all listed backends true. Checks run at once, none waits for another.

    `wall` reads the clock that goes on while the machine sleeps, in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        bus: Bus,
        *,
        node_id: str,
        get_config: Callable[[], Config],
        make_client: Callable[[], httpx.AsyncClient],
        environ: Mapping[str, str],
        wall: Callable[[], float] = time.time,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self._registry, self._bus, self._node_id = registry, bus, node_id
        self._get_config, self._make_client, self._environ = get_config, make_client, environ
        self._wall, self._tick_seconds = wall, tick_seconds
        self._client: httpx.AsyncClient | None = None
        self._looker: Looker | None = None
        self._watches: dict[str, Watch] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._clock: asyncio.Task[None] | None = None
        self._unsubscribe = bus.subscribe(
            self._heard,
            BackendAdded,
            BackendRemoved,
            BackendChanged,
            AirplaneChanged,
            ConfigReloaded,
        )

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Watch what is listed, and from now on what comes. The first checks start at once."""
        import httpx

        self._client = self._make_client()
        # The checks bound themselves as a whole; only a connection has a limit of its own.
        self._client.timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        self._looker = Looker(
            self._registry,
            self._client,
            node_id=self._node_id,
            get_config=self._get_config,
            environ=self._environ,
        )
        for backend in self._registry:
            self._watch(backend, self._looker)
        self._clock = spawn(self._mind_the_clock(), name="health clock")

    async def stop(self) -> None:
        """End all checks. The last word on each backend stays."""
        self._unsubscribe()
        ending = [task for task in (*self._tasks.values(), self._clock) if task is not None]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        self._tasks.clear()
        self._watches.clear()
        if self._client is not None:
            await self._client.aclose()
            self._client = self._looker = None

    # -- what others ask -----------------------------------------------------------------------

    async def check(self, name: str) -> str:
        """Check one backend now and say what was found. Raises `CommandError`."""
        backend = self._registry.get(name)
        watch = self._watches.get(name)
        if watch is None:
            raise CommandError(f"{name} is not checked now: the gateway starts or stops")
        if watch.is_grounded:
            return f"{name} is not checked: airplane mode is on"
        if not watch.may_ask:
            switch = "disabled" if not backend.enabled else "not accepted, and gets no request"
            return f"{name} is not checked: it is {switch}"
        return _sentence(backend, await watch.check())

    def suspect(self, name: str) -> None:
        """Real traffic met a failure at a backend: check it soon."""
        if watch := self._watches.get(name):
            watch.suspect()

    # -- inside --------------------------------------------------------------------------------

    def _heard(self, event: Event) -> None:
        match event:
            case BackendAdded(name=name) if self._looker is not None:
                self._watch(self._registry.get(name), self._looker)
            case BackendRemoved(name=name):
                self._watches.pop(name, None)
                if task := self._tasks.pop(name, None):
                    task.cancel()
            case BackendChanged(name=name):
                if watch := self._watches.get(name):
                    watch.reconsider()
            case AirplaneChanged():
                for watch in self._watches.values():
                    watch.reconsider()
            case ConfigReloaded(error=None):
                for watch in self._watches.values():
                    watch.forgive()

    def _watch(self, backend: Backend, looker: Looker) -> None:
        watch = Watch(
            backend,
            self._registry,
            looker,
            lambda: self._get_config().health_check,
            identify=backend.source is Source.CONFIG,
        )
        self._watches[backend.name] = watch
        self._tasks[backend.name] = spawn(watch.run(), name=f"health {backend.name}")

    async def _mind_the_clock(self) -> None:
        """Forgive what failed while this machine slept: the fault was ours."""
        while True:
            wall, awake = self._wall(), time.monotonic()
            await asyncio.sleep(self._tick_seconds)
            lost = max(self._wall() - wall, time.monotonic() - awake) - self._tick_seconds
            if lost > ASLEEP_SECONDS:
                log.info("this machine slept for %.0f s; all backends are checked again", lost)
                for watch in self._watches.values():
                    watch.forgive()


def _sentence(backend: Backend, finding: Finding) -> str:
    name, health = backend.name, backend.health
    if finding.probe is None and health is not BackendState.DOWN:
        return f"{name} did not answer ({finding.reason}); it counts as {health.value} for now"
    if health is BackendState.DOWN:
        if finding.probe is not None:
            return f"{name} answers again; one more answer, and it counts as up"
        return f"{name} is down: {finding.reason}"
    what = " ".join(word for word in (backend.type.value, backend.version) if word)
    return (
        f"{name} is {health.value}: {what} with {plural(len(backend.models), 'model')}, "
        f"answered in {finding.milliseconds:.0f} ms"
    )
