"""One check of one backend: what it is where that is in doubt, then what it says of itself.

Read-only and never a generation, so that no check costs money or work.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.ask import REFUSED, UNREACHED
from nexus_proxy.backends.base import ProbeFailed, Target
from nexus_proxy.backends.fingerprint import IsNexus, NotABackend, fingerprint
from nexus_proxy.config.model import BackendConfig, BackendType, Config, Zone
from nexus_proxy.health.verdict import Outcome
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import Probe

if TYPE_CHECKING:
    import httpx

IDENTIFY_SECONDS = 15.0


class Finding(Struct, frozen=True, kw_only=True):
    """What one check found. `reached`: a request was answered, however."""

    outcome: Outcome
    reason: str | None = None
    probe: Probe | None = None
    milliseconds: float = 0.0
    reached: bool = True


class Looker:
    """Checks backends, and tells the registry where another kind of server answers by now."""

    def __init__(
        self,
        registry: Registry,
        client: httpx.AsyncClient,
        *,
        node_id: str,
        get_config: Callable[[], Config],
        environ: Mapping[str, str],
    ) -> None:
        self._registry, self._client, self._node_id = registry, client, node_id
        self._get_config, self._environ = get_config, environ

    async def look(self, backend: Backend, *, identify: bool) -> Finding:
        """Check once. `identify` asks first what answers, where that can be in doubt."""
        seconds = self._get_config().health_check.timeout_seconds
        try:
            target = Target(base_url=backend.url, api_key=self._key(backend))
            if identify and not self._is_certain(backend):
                await self._identify(backend, target)
            started = time.perf_counter()
            async with asyncio.timeout(seconds):
                probe = await adapter_for(backend.type).probe(self._client, target)
        except ProbeFailed as failure:
            reason = str(failure)
            outcome = Outcome.GONE if reason == REFUSED else Outcome.FAILED
            return Finding(outcome=outcome, reason=reason, reached=reason not in UNREACHED)
        except TimeoutError:
            busy = backend.in_flight > 0 and not backend.answers_while_busy
            outcome = Outcome.BUSY if busy else Outcome.FAILED
            return Finding(outcome=outcome, reason=f"no answer within {seconds:g} s", reached=False)
        return Finding(
            outcome=Outcome.LOADING if probe.loading else Outcome.ANSWERED,
            reason="its model is being loaded" if probe.loading else probe.note,
            probe=probe,
            milliseconds=(time.perf_counter() - started) * 1000.0,
        )

    def _key(self, backend: Backend) -> str | None:
        if backend.api_key_env is None:
            return None
        if key := self._environ.get(backend.api_key_env, "").strip():
            return key
        raise ProbeFailed(f"{backend.api_key_env} is not set, and its key is read from there")

    def _entry(self, backend: Backend) -> BackendConfig | None:
        entries = self._get_config().backends
        return next((entry for entry in entries if entry.name == backend.name), None)

    def _is_certain(self, backend: Backend) -> bool:
        """Whether its kind needs no asking: it is configured, or a cloud's, which stays."""
        entry = self._entry(backend)
        return backend.traits.is_cloud or (entry is not None and entry.type is not None)

    async def _identify(self, backend: Backend, target: Target) -> None:
        """Ports are reused: see whether the server is still of its kind, and not ourselves."""
        try:
            async with asyncio.timeout(IDENTIFY_SECONDS):
                seen = await fingerprint(self._client, target.base_url, api_key=target.api_key)
            type_ = seen.type
        except NotABackend as error:
            raise ProbeFailed(str(error)) from None
        except IsNexus as nexus:
            if nexus.node_id == self._node_id:
                raise ProbeFailed("this Nexus itself answers there now") from None
            type_ = BackendType.GENERIC
            self._distrust(backend)
        if type_ is not backend.type:
            self._registry.retype(backend.name, type_, adapter_for(type_).traits)

    def _distrust(self, backend: Backend) -> None:
        """Another Nexus may pass prompts on to anyone, so it is `open` unless configured."""
        entry = self._entry(backend)
        if backend.zone is not Zone.OPEN and (entry is None or entry.zone is None):
            self._registry.set_zone(backend.name, Zone.OPEN)
