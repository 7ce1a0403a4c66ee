"""The product without a screen: builds and owns every part, and is what UI, CLI and API hold."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nexus_proxy import __version__, commands
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.price_book import PriceBook
from nexus_proxy.accounting.spending import Spending
from nexus_proxy.admission.keys import Keyring
from nexus_proxy.admission.limits import Limits, cells_at
from nexus_proxy.admission.queue import Admission
from nexus_proxy.admission.shared import SharedBuckets
from nexus_proxy.commands import Removed, Result
from nexus_proxy.config.model import (
    BackendConfig,
    BackendType,
    Config,
    DiscoveryConfig,
    Loaded,
    Zone,
)
from nexus_proxy.config.paths import state_file
from nexus_proxy.config.values import is_loopback
from nexus_proxy.config.write import ConfigFile
from nexus_proxy.discovery.base import DiscoverySource
from nexus_proxy.discovery.service import Discovery, sources_for
from nexus_proxy.discovery.static import entry_of
from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.events import (
    BackendAdded,
    BackendChanged,
    BackendRemoved,
    Bus,
    Event,
    GatewayDraining,
    RequestFinished,
)
from nexus_proxy.fleet.service import Fleet
from nexus_proxy.health.checker import HealthChecker
from nexus_proxy.health.problems import about_backends
from nexus_proxy.health.vectors import VectorComparison
from nexus_proxy.lifecycle.service import Lifecycle
from nexus_proxy.quality import rows as quality_rows
from nexus_proxy.quality.affinity import Affinity
from nexus_proxy.quality.service import Quality
from nexus_proxy.registry import Registry
from nexus_proxy.relay.attempts import Attempts
from nexus_proxy.relay.billing import Billing
from nexus_proxy.relay.cloud_requests import CloudRequests
from nexus_proxy.relay.facts import FactsReader
from nexus_proxy.relay.relay import Relay
from nexus_proxy.replicas.service import Replicas
from nexus_proxy.routing.timing import timed
from nexus_proxy.runtime.configuration import Configuration
from nexus_proxy.siblings.family import Siblings
from nexus_proxy.siblings.mirror import list_found, recall
from nexus_proxy.siblings.seat import Seat
from nexus_proxy.state import BackendView, RequestView, Snapshot
from nexus_proxy.state.snapshot import SHOWN_LINES, SHOWN_REQUESTS
from nexus_proxy.store.redis import shared_store
from nexus_proxy.store.sqlite import Store
from nexus_proxy.store.sums import SharedSums
from nexus_proxy.telemetry.history import History
from nexus_proxy.telemetry.journal import TOLD, journal
from nexus_proxy.telemetry.logs import Logs
from nexus_proxy.telemetry.pace import Pace
from nexus_proxy.telemetry.request_log import RequestLog
from nexus_proxy.telemetry.tally import Tally
from nexus_proxy.telemetry.tracing import asked_for, make_tracer

if TYPE_CHECKING:
    import httpx

    from nexus_proxy.telemetry.spans import Tracer

log = logging.getLogger(__name__)

SHOWN_DECISIONS = 50
CONTENT_LOGGED = (
    "content logging is on: the log holds what is asked and answered; "
    "logging.enable_content_logging = false ends it"
)


class Runtime:
    """One running gateway. `start` before the first request, `stop` after the last.

    `explicit` and `flags` are what the command line said. `endpoint` is the address that clients
    use. `seat` is this process's place where several serve as one.
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
        seat: Seat | None = None,
    ) -> None:
        self.logs = logs
        self.endpoint = endpoint
        self.seat = seat or Seat(node_id=secrets.token_hex(8))
        self.node_id = self.seat.node_id
        self.started_at = time.time()
        self.draining = False
        self.started = asyncio.Event()
        self._environ = environ
        self.removed: dict[str, Removed] = {}
        self._tracer: Tracer | None = None
        self._trace_problem: str | None = None
        self.bus = Bus()
        self.configuration = Configuration(
            loaded,
            self.bus,
            environ=environ,
            explicit=explicit,
            flags=flags,
            on_reload=self._reloaded,
            on_keys=self._take_keys,
        )
        self.registry = Registry(self.bus)
        self.history = History(self.bus)
        self.quality = Quality(registry=self.registry, bus=self.bus, config=loaded.config.quality)
        self.store = Store(Path(loaded.config.state.path or state_file()).expanduser())
        self._shared = shared_store(loaded.config.state, environ)
        self.ledger = self._make_ledger(loaded.config)
        self.spending = Spending(self.ledger, self.bus)
        self.prices = PriceBook()
        self.keyring = Keyring(self.config.keys, exposed=_is_exposed(self.config))
        self.limits = self._make_limits()
        self.health = self._make_health()
        self.discovery = self._make_discovery()
        self.siblings = Siblings(self.seat, self)
        self.replicas = self._make_replicas()
        self.admission = Admission(self.bus, get_config=lambda: self.config.queue)
        self.lifecycle = self._make_lifecycle()
        self._cloud_requests = CloudRequests(self.registry, self.bus)
        self.tally = Tally(born=secrets.token_hex(8))
        self.relay = self._make_relay()
        self.fleet = Fleet(self.store, self.registry, self.lifecycle.times, lambda: self.config)
        self.pace = Pace()
        told = (self.tally, RequestLog(logs), self.ledger.read, self.fleet.read, self.pace)
        self.history.readers += told
        self.bus.subscribe(journal, *TOLD)
        self.bus.subscribe(self._close_pools, BackendRemoved)
        self.bus.subscribe(self._expect_cost, BackendAdded, BackendChanged)

    def _make_ledger(self, config: Config) -> Ledger:
        shared = SharedSums(self._shared) if self._shared else None
        return Ledger(self.store, self.bus, config.routing.budget, shared=shared)

    def _make_limits(self) -> Limits:
        shared = SharedBuckets(self._shared) if self._shared else None
        return Limits(self.keyring, cells=cells_at(self.seat.cells), shared=shared)

    def _make_replicas(self) -> Replicas:
        return Replicas(
            self._shared,
            registry=self.registry,
            ledger=self.ledger,
            limits=self.limits,
            seat=self.seat,
        )

    def _make_health(self) -> HealthChecker:
        return HealthChecker(
            registry=self.registry,
            bus=self.bus,
            get_config=lambda: self.config,
            make_client=self._make_client,
            node_id=self.node_id,
            environ=self._environ,
        )

    def _make_comparison(self) -> VectorComparison:
        return VectorComparison(
            self.registry,
            admission=self.admission,
            make_client=self._make_client,
            environ=self._environ,
        )

    def _make_discovery(self) -> Discovery:
        return Discovery(
            registry=self.registry,
            bus=self.bus,
            node_id=self.node_id,
            get_config=lambda: self.config,
            make_client=self._make_client,
            environ=self._environ,
            sources=sources_for if self.seat.is_lead else _no_sources,
            share=self.seat.share,
        )

    def _make_lifecycle(self) -> Lifecycle:
        return Lifecycle(
            registry=self.registry,
            bus=self.bus,
            admission=self.admission,
            get_config=lambda: self.config,
            make_client=self._make_client,
            environ=self._environ,
            check=self.health.check,
            repin=lambda model, backend: commands.pin(self, model, backend),
            others=self.siblings,
        )

    def _make_relay(self) -> Relay:
        affinity, billing = Affinity(), Billing(self.ledger, self.prices)
        reader = FactsReader(self.registry, affinity, billing)
        reader.timed_stages = timed(self.tally.note_stage)
        attempts = Attempts(
            registry=self.registry,
            history=self.history,
            environ=self._environ,
            suspect=self.health.suspect,
            compare=self._make_comparison().want,
            quality=self.quality,
            affinity=affinity,
            billing=billing,
            cloud_requests=self._cloud_requests,
            timeouts=self.config.timeouts,
        )
        return Relay(
            registry=self.registry,
            history=self.history,
            node_id=self.node_id,
            limits=self.limits,
            billing=billing,
            admission=self.admission,
            reader=reader,
            attempts=attempts,
            config=self.config,
        )

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.configuration.now

    @property
    def loaded(self) -> Loaded:
        """The same, and where each value came from."""
        return self.configuration.loaded

    @property
    def config_file(self) -> ConfigFile:
        """Where changes of it are kept."""
        return self.configuration.file

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
        if asked := asked_for(self._environ):
            await self._start_tracing(asked)
        await self.health.start()
        taught = await self.siblings.lesson()
        if taught is not None:
            list_found(self.registry, taught)
        await self.discovery.start()
        await self._open_store()
        if taught is not None:
            recall(self.registry, taught)
        if self.seat.is_lead:
            self.configuration.watch()
        await self.replicas.start()
        await self.siblings.start()
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
        self.configuration.stop()
        await self.siblings.stop()
        await self.discovery.stop()
        await self.lifecycle.stop()
        await self.health.stop()
        self.history.settle()
        self.quality.stop()
        self.fleet.save()
        self.spending.stop()
        self.ledger.stop()
        with contextlib.suppress(StoreUnavailableError):
            await self.store.flush()  # the other replicas are told what the file has come to
        await self.replicas.stop()
        await self.store.close()
        self.relay.attempts.pools.close()
        self.history.settle()
        if self._tracer is not None:
            await self._tracer.stop()

    # -- reading -------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """This process at this moment; `siblings.snapshot` speaks for all of them."""
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
            requests=self.history.shown(SHOWN_REQUESTS, SHOWN_DECISIONS),
            logs=tuple(lines)[-SHOWN_LINES:],
            aliases=dict(self.registry.aliases),
            fallbacks={k: tuple(v) for k, v in self.config.routing.fallbacks.items()},
            pins=dict(self.registry.pins),
            problems=tuple(self._problems(backends)),
            keys=self.replicas.with_others(
                self.limits.views(self.keyring, self.ledger.spent_by_key())
            ),
            budget=self.ledger.standing,
            spend=self.spending.look(),
            searching=self.discovery.searching(),
            quality=self.quality.views(),
            queue=self.admission.waiting(),
            trends=self.pace.trends(),
            airplane=self.registry.airplane,
            replicas=self.replicas.count,
            trend=self.history.trend(),
            operations=self.lifecycle.views(),
        )

    def counted(self) -> Tally:
        """What this process's requests came to, to the last one that ended."""
        from nexus_proxy.telemetry.metrics import process_figures

        self.history.settle()
        self.tally.process = process_figures()
        return self.tally

    def _problems(self, backends: tuple[BackendView, ...]) -> list[str]:
        problems = self.ledger.problems
        if self.replicas.problem:
            problems.append(self.replicas.problem)
        if self.config.logging.enable_content_logging:
            problems.append(CONTENT_LOGGED)
        if self.prices.problem:
            problems.append(self.prices.problem)
        if self._trace_problem:
            problems.append(self._trace_problem)
        if refused := self.configuration.problem:
            problems.append(f"the changed configuration was refused: {refused}")
        return problems + about_backends(backends)

    # -- verbs ---------------------------------------------------------------------------------

    async def run_command(self, name: str, arguments: Mapping[str, Any]) -> Result:
        """Run a verb of the table. Raises `CommandError`."""
        result = await commands.run(self, name, arguments)
        self.replicas.did(name, arguments)
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

    def cloud_requests(self) -> int:
        """See `commands.Operations`."""
        return len(self._cloud_requests)

    def running_request(self, request_id: str) -> RequestView | None:
        """See `commands.Operations`."""
        return self.history.running(request_id)

    async def cancel_request(self, request_id: str) -> None:
        """See `commands.Operations`."""
        await self.siblings.cancel(request_id)

    def cancel_own(self, request_id: str) -> None:
        """See `siblings.family.Own`."""
        self.relay.running.cancel(request_id)

    async def check_backend(self, name: str) -> str:
        """See `commands.Operations`."""
        return await self.health.check(name)

    def drop_backend(self, name: str) -> None:
        """See `siblings.family.Own`."""
        self.discovery.drop(name)

    def suspect(self, name: str) -> None:
        """See `siblings.family.Own`."""
        self.health.suspect(name)

    async def reload_config(self) -> tuple[str, ...]:
        """See `commands.Operations`. Raises `ConfigError`; the running configuration stays."""
        return self.configuration.reload()

    def revoke_key(self, name: str) -> None:
        """See `commands.Operations`. Raises `NotFoundError`."""
        self.configuration.revoke_key(name)

    def entry_for(self, name: str) -> BackendConfig:
        """See `commands.Operations`."""
        own = next((entry for entry in self.config.backends if entry.name == name), None)
        return entry_of(self.registry.get(name), own)

    # -- inside --------------------------------------------------------------------------------

    def _reloaded(self, before: Config, now: Config) -> None:
        self._take_over(now)
        self.discovery.apply(now)
        self.replicas.reloaded(before, now)

    def _take_over(self, config: Config) -> None:
        self.registry.aliases = dict(config.routing.aliases)
        self.registry.pins = dict(config.routing.pins)
        self.registry.set_airplane(config.routing.airplane)
        self.relay.apply(config)
        self.quality.apply(config.quality)
        self.ledger.apply(config.routing.budget)
        self.relay.billing.apply(config.prices)
        self._take_keys(config)
        self.logs.apply(config.logging)
        if config.logging.enable_content_logging:
            log.warning("%s", CONTENT_LOGGED)
        # A reload may name a variable that was none of ours when the logs were made.
        named = (b.api_key_env for b in config.backends if b.api_key_env)
        self.logs.learn(self._environ.get(name, "") for name in named)

    async def _start_tracing(self, asked: str) -> None:
        """Have spans made. Where that cannot be, it is logged and shown."""
        made = await make_tracer(asked, self.registry, self._environ)
        if isinstance(made, str):
            self._trace_problem = made
            log.warning("%s", made)
        else:
            self._tracer = made
            self.history.readers.append(made)
            self.relay.begin_trace = made.begin

    async def _open_store(self) -> None:
        """Go on where the last run ended, and keep what comes."""
        await self.store.open()
        await self.ledger.start()
        try:
            rows = await self.store.read(lambda c: c.execute(quality_rows.LOAD).fetchall())
        except StoreUnavailableError:
            rows = []
        if unreadable := self.quality.load(rows):
            log.warning("%d rows of quality make no sense and are left out", unreadable)
        self.quality.connect(self._save_quality)
        self.quality.start()
        await self.lifecycle.recall(self.store)

    def _save_quality(self, saved: quality_rows.Saved) -> None:
        self.store.post(lambda connection: quality_rows.save(connection, saved))

    def _take_keys(self, config: Config) -> None:
        self.keyring.apply(config.keys)
        self.limits.apply(self.keyring)

    def _make_client(self) -> httpx.AsyncClient:
        from nexus_proxy.control_client import make_client

        return make_client(self.node_id, environ=self._environ, is_cloud=self._is_cloud_host)

    def _is_cloud_host(self, host: str) -> bool:
        return any(b.traits.is_cloud and urlsplit(b.url).hostname == host for b in self.registry)

    def _expect_cost(self, event: Event) -> None:
        if isinstance(event, BackendAdded | BackendChanged) and event.name in self.registry:
            backend = self.registry.get(event.name)
            is_cloud = backend.traits.is_cloud or backend.zone is Zone.OPEN
            if is_cloud or any(m.remote for m in backend.models.values()):
                self.relay.billing.expect_cost()

    def _close_pools(self, event: Event) -> None:
        if isinstance(event, BackendRemoved):
            self.relay.attempts.lines.forget(event.name)


def _is_exposed(config: Config) -> bool:
    """Whether other machines can connect, and nobody said that all of them may."""
    return not (is_loopback(config.server.host) or config.server.allow_unauthenticated)


def _no_sources(_config: DiscoveryConfig, _environ: Mapping[str, str]) -> list[DiscoverySource]:
    """For a worker that mirrors what the lead finds."""
    return []
