"""Watching one backend: when to check it, and what a check means for it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable

import msgspec

from nexus_proxy.config.model import HealthCheckConfig
from nexus_proxy.health.look import Finding, Looker
from nexus_proxy.health.verdict import streak_after, verdict
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.state import BackendState, Source

JITTER = 0.2
"""Checks are spread by this share either way, so that they do not come in volleys."""
RETRY_SECONDS = 1.0
RETRY_GROWTH = 1.5
RETRY_MOST_SECONDS = 5.0
"""Pauses between the checks of a backend that is down: the first, the growth, the longest."""
CLOUD_SECONDS = 60.0
"""Least time between two requests to a cloud for its list."""
UNCHECKED_SECONDS = 300.0
"""Between two readings of the model list where health checks are off."""


class Watch:
    """One backend, checked for as long as it is listed.

    It is never asked while disabled; a cloud, and whatever the environment names, not before it
    is accepted, nor in airplane mode. Where health checks are off it counts as up, and only its
    models are read.
    """

    def __init__(
        self,
        backend: Backend,
        registry: Registry,
        looker: Looker,
        limits: Callable[[], HealthCheckConfig],
        *,
        identify: bool,
    ) -> None:
        self._backend, self._registry, self._looker = backend, registry, looker
        self._limits = limits
        self._identify = identify
        self._streak = 0
        self._retry = RETRY_SECONDS
        self._earliest = 0.0
        """Monotonic seconds before which nobody can call for a check."""
        self._called = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        self._switches = self._switches_now()

    async def run(self) -> None:
        """Check for ever."""
        while True:
            self._called.clear()
            delay = self._delay(await self.check()) if self.may_ask else None
            await self._pause(delay)

    async def check(self) -> Finding:
        """Check now and tell the registry."""
        async with self._one_at_a_time:
            if not self._limits().enabled and self._backend.health is not BackendState.UP:
                self._mark(BackendState.UP, None)
            finding = await self._looker.look(self._backend, identify=self._identify)
            if self._is_listed:
                self._take(finding)
            return finding

    @property
    def may_ask(self) -> bool:
        """Whether requests may be sent to it at all."""
        backend = self._backend
        private = backend.traits.is_cloud or backend.source is Source.ENVIRONMENT
        return backend.enabled and (backend.accepted or not private) and not self.is_grounded

    @property
    def is_grounded(self) -> bool:
        """Whether airplane mode keeps traffic from it."""
        backend = self._backend
        return self._registry.airplane and is_away(backend.traits.is_cloud, backend.zone)

    def suspect(self) -> None:
        """Real traffic met a failure: check soon."""
        if self._backend.health is BackendState.DOWN:
            self._streak, self._identify, self._retry = 0, True, RETRY_SECONDS
        self._called.set()

    def forgive(self) -> None:
        """This machine slept: what failed meanwhile says nothing. Check soon."""
        self._streak, self._retry = 0, RETRY_SECONDS
        self._called.set()

    def reconsider(self) -> None:
        """The backend changed: check at once where its switches or its key did."""
        if self._switches != (now := self._switches_now()):
            self._switches, self._earliest = now, 0.0
            self._called.set()

    def _switches_now(self) -> tuple[bool, bool, bool, str | None]:
        backend = self._backend
        return (backend.enabled, backend.accepted, self.is_grounded, backend.api_key_env)

    @property
    def _is_listed(self) -> bool:
        name = self._backend.name
        return name in self._registry and self._registry.get(name) is self._backend

    def _take(self, finding: Finding) -> None:
        backend, limits = self._backend, self._limits()
        if finding.probe is not None:
            self._identify = False
            self._registry.seen(backend.name, finding.probe, probe_ms=finding.milliseconds)
        if not limits.enabled:
            return
        if backend.traits.is_cloud:
            limits = msgspec.structs.replace(limits, recovery_threshold=1)
        self._streak = streak_after(self._streak, finding.outcome)
        health = verdict(backend.health, self._streak, finding.outcome, limits)
        if health is BackendState.DOWN and backend.health is not BackendState.DOWN:
            self._retry = RETRY_SECONDS
        if finding.probe is None and health is BackendState.DOWN:
            self._identify = True
            self._mark(health, finding.reason)
        elif finding.probe is not None and health is not BackendState.DOWN:
            self._mark(health, finding.reason)

    def _mark(self, health: BackendState, reason: str | None) -> None:
        self._registry.mark(self._backend.name, health, reason)

    def _delay(self, finding: Finding) -> float:
        """Seconds to the next check: soon while it is on its way up, else the interval."""
        limits, cloud = self._limits(), self._backend.traits.is_cloud
        interval = limits.interval_seconds if limits.enabled else UNCHECKED_SECONDS
        interval = max(interval, CLOUD_SECONDS) if cloud else interval
        least = CLOUD_SECONDS if cloud and finding.reached else min(RETRY_SECONDS, interval)
        self._earliest = time.monotonic() + least
        delay = max(least, min(self._until_next_try(finding), interval))
        return delay * random.uniform(1 - JITTER, 1 + JITTER)

    def _until_next_try(self, finding: Finding) -> float:
        enabled, health = self._limits().enabled, self._backend.health
        if finding.probe is None and (health is BackendState.DOWN or not enabled):
            most = RETRY_MOST_SECONDS if enabled else UNCHECKED_SECONDS
            self._retry, retry = min(self._retry * RETRY_GROWTH, most), self._retry
            return retry
        on_its_way = health in (BackendState.DOWN, BackendState.LOADING)
        return RETRY_SECONDS if on_its_way else math.inf

    async def _pause(self, seconds: float | None) -> None:
        """Until `seconds` have passed, or somebody called and it is not too early to heed that."""
        due = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            if self._called.is_set():
                self._called.clear()
                due = min(due, self._earliest)
            left = due - time.monotonic()
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if left == math.inf else left):
                    await self._called.wait()
