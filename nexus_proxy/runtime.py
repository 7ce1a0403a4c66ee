"""The product without a screen: builds and owns every part, and is what UI, CLI and API hold."""

from __future__ import annotations

import asyncio
import importlib
import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nexus_proxy import __version__, commands
from nexus_proxy.admission.queue import Admission
from nexus_proxy.commands import Result
from nexus_proxy.config.diff import diff
from nexus_proxy.config.load import load
from nexus_proxy.config.model import BackendConfig, BackendType, Config, Loaded, Zone
from nexus_proxy.config.watch import watch
from nexus_proxy.config.write import ConfigFile
from nexus_proxy.discovery.service import Discovery
from nexus_proxy.discovery.static import implied_zone
from nexus_proxy.errors import ConfigError
from nexus_proxy.events import (
    BackendRemoved,
    Bus,
    ConfigReloaded,
    Event,
    GatewayDraining,
    RequestFinished,
)
from nexus_proxy.health.checker import HealthChecker
from nexus_proxy.registry import Registry
from nexus_proxy.relay.attempts import Relay
from nexus_proxy.relay.headers import HOPS
from nexus_proxy.routing.pipeline import plan
from nexus_proxy.routing.types import RequestFacts
from nexus_proxy.state import BackendState, BackendView, DecisionView, Snapshot
from nexus_proxy.tasks import spawn
from nexus_proxy.telemetry.history import History
from nexus_proxy.telemetry.journal import TOLD, journal
from nexus_proxy.telemetry.logs import Logs
from nexus_proxy.telemetry.request_log import RequestLog

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

SHOWN_REQUESTS = 1000
SHOWN_LINES = 500


class Runtime:
    """One running gateway. `start` before the first request, `stop` after the last.

    `explicit` and `flags` are what the command line said, kept so that a reload reads the same
    sources again. `endpoint` is the address that clients use.
    """

    def __init__(
        self,
        loaded: Loaded,
        *,
        logs: Logs,
        environ: Mapping[str, str],
        endpoint: str,
        explicit: str | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> None:
        self.loaded = loaded
        self.logs = logs
        self.endpoint = endpoint
        self.node_id = secrets.token_hex(8)
        self.started_at = time.time()
        self.draining = False
        self.started = asyncio.Event()
        self._environ, self._explicit, self._flags = environ, explicit, dict(flags or {})
        self._config_problem: str | None = None
        self._watching: asyncio.Task[None] | None = None
        self.bus = Bus()
        self.registry = Registry(self.bus)
        self.history = History(self.bus)
        self.config_file = ConfigFile(Path(loaded.path) if loaded.path else None)
        self.health = HealthChecker(
            registry=self.registry,
            bus=self.bus,
            get_config=lambda: self.config,
            make_client=lambda: make_client(self.node_id),
            node_id=self.node_id,
            environ=environ,
        )
        self.discovery = Discovery(
            registry=self.registry,
            bus=self.bus,
            node_id=self.node_id,
            get_config=lambda: self.config,
            make_client=lambda: make_client(self.node_id),
            environ=environ,
        )
        self.admission = Admission(self.bus, get_config=lambda: self.config.queue)
        self.relay = Relay(
            registry=self.registry,
            history=self.history,
            node_id=self.node_id,
            environ=environ,
            get_config=lambda: self.config,
            suspect=self.health.suspect,
        )
        self._request_log = RequestLog(self.history, logs)
        self.bus.subscribe(journal, *TOLD)
        self.bus.subscribe(self._request_log, RequestFinished)
        self.bus.subscribe(self._close_pools, BackendRemoved)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.loaded.config

    @property
    def environ(self) -> Mapping[str, str]:
        """The environment that the gateway reads variables from."""
        return self._environ

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """List static backends, start looking for others, and check them all."""
        self._take_over(self.config)
        # A third of a second of import that the loop need not stand still for.
        await asyncio.to_thread(importlib.import_module, "httpx")
        await self.health.start()
        await self.discovery.start()
        self._watching = spawn(
            watch(self.config_file.path, self._file_changed), name="config watch"
        )
        self.started.set()

    async def drain(self, seconds: float) -> bool:
        """Take no new requests and wait for the running ones, at most `seconds`. True: all done."""
        if not self.draining:
            self.draining = True
            self.bus.publish(GatewayDraining())
        idle = asyncio.Event()

        def look(_event: Event) -> None:
            if self.history.in_flight == 0:
                idle.set()

        unsubscribe = self.bus.subscribe(look, RequestFinished)
        try:
            look(GatewayDraining())
            async with asyncio.timeout(seconds):
                await idle.wait()
        except TimeoutError:
            return False
        finally:
            unsubscribe()
        return True

    async def stop(self) -> None:
        """End discovery, checks and pooled connections."""
        if self._watching is not None:
            self._watching.cancel()
        await self.discovery.stop()
        await self.health.stop()
        self.relay.pools.close()
        self._request_log.flush()

    # -- reading -------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """The gateway at this moment."""
        backends = self.registry.views()
        lines = self.logs.ring.lines
        return Snapshot(
            taken_at=time.time(),
            version=__version__,
            endpoint=self.endpoint,
            started_at=self.started_at,
            draining=self.draining,
            config_path=str(self.config_file.path),
            strategy=self.config.routing.strategy.value,
            totals=self.history.totals(),
            backends=backends,
            requests=self.history.newest(SHOWN_REQUESTS),
            logs=tuple(lines)[-SHOWN_LINES:],
            aliases=dict(self.registry.aliases),
            pins=dict(self.registry.pins),
            problems=tuple(self._problems(backends)),
            searching=self.discovery.searching(),
            queue=self.admission.waiting(),
        )

    def dry_run(self, facts: RequestFacts) -> list[DecisionView]:
        """What would happen to such a request: one record per model of the plan.

        Raises `UnknownModelError`.
        """
        views = []
        for decision in plan(facts, self.registry, self.relay.rules):
            first = decision.candidates[0] if decision.candidates else None
            views.append(decision.view(decision.route_reason(first, 0) if first else None))
        return views

    def _problems(self, backends: tuple[BackendView, ...]) -> list[str]:
        problems = []
        if self._config_problem:
            problems.append(f"the changed configuration was refused: {self._config_problem}")
        live = [b for b in backends if b.state in (BackendState.UP, BackendState.LOADING)]
        if backends and not live:
            problems.append("no backend is up: every request is refused")
        problems += [
            f"{b.name} is down: {b.reason or 'no answer'}"
            for b in backends
            if b.state is BackendState.DOWN
        ]
        waiting = [b.name for b in backends if not b.accepted]
        if waiting:
            problems.append(f"found, not accepted yet: {', '.join(waiting)}")
        return problems

    # -- verbs ---------------------------------------------------------------------------------

    async def run_command(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run a verb of the table. Raises `CommandError`."""
        result = await commands.run(self, name, arguments)
        log.info("%s: %s", name, result.message)
        return result

    def consequence(self, name: str, arguments: Mapping[str, Any]) -> str | None:
        """What a person must be asked before the verb runs. Raises `CommandError`."""
        return commands.consequence(self, name, arguments)

    async def add_backend(
        self, url: str, *, name: str | None, type_: BackendType | None, zone: Zone | None
    ) -> str:
        """See `commands.Operations`."""
        added = await self.discovery.add_url(url, name=name, type_=type_, zone=zone)
        await self.health.check(added)
        return added

    async def check_backend(self, name: str) -> str:
        """See `commands.Operations`."""
        return await self.health.check(name)

    async def reload_config(self) -> tuple[str, ...]:
        """See `commands.Operations`. Raises `ConfigError`; the running configuration stays."""
        try:
            loaded = load(self._explicit, environ=self._environ, flags=self._flags)
        except ConfigError as error:
            self._config_problem = error.message
            self.bus.publish(ConfigReloaded(error=error.message))
            raise
        self._config_problem = None
        changes = tuple(map(_with_delay, diff(self.config, loaded.config)))
        self.loaded = loaded
        if changes:
            self._take_over(loaded.config)
            self.discovery.apply(loaded.config)
            self.bus.publish(ConfigReloaded(diff=changes))
        return changes

    def entry_for(self, name: str) -> BackendConfig:
        """See `commands.Operations`. What the file says already is kept as it stands there."""
        backend = self.registry.get(name)
        own = next((entry for entry in self.config.backends if entry.name == name), None)
        entry = own or BackendConfig(
            name=name,
            url=backend.url,
            type=backend.type,
            tier=backend.tier,
            api_key_env=backend.api_key_env,
            max_concurrent=backend.max_concurrent,
            models=list(backend.allow_models),
        )
        implied = own is not None and implied_zone(own) is backend.zone
        return msgspec.structs.replace(
            entry,
            priority=backend.priority,
            tags=list(backend.tags),
            enabled=backend.enabled and backend.accepted,
            drained=backend.drained,
            zone=entry.zone if implied else backend.zone.label,
        )

    # -- inside --------------------------------------------------------------------------------

    def _take_over(self, config: Config) -> None:
        self.registry.aliases = dict(config.routing.aliases)
        self.registry.pins = dict(config.routing.pins)
        self.relay.apply(config)
        self.logs.apply(config.logging)

    async def _file_changed(self) -> None:
        try:
            await self.reload_config()
        except ConfigError:
            return  # published and shown; the running configuration stays in force

    def _close_pools(self, event: Event) -> None:
        if isinstance(event, BackendRemoved):
            self.relay.lines.forget(event.name)


def _with_delay(line: str) -> str:
    """A line of the diff; says so if it takes a restart."""
    late = line.startswith(("server.host:", "server.port:", "server.allow_unauthenticated:"))
    return f"{line} (from the next start on)" if late else line


def make_client(node_id: str | None = None) -> httpx.AsyncClient:
    """A client for the control plane: probes and health checks. Follows no redirect, since keys
    must not travel, and reads no proxy settings, since most targets are on this machine.

    `node_id` tells another Nexus that it is one who asks.
    """
    import httpx

    headers = {HOPS.decode(): node_id} if node_id else {}
    return httpx.AsyncClient(headers=headers, trust_env=False, follow_redirects=False, timeout=5.0)
