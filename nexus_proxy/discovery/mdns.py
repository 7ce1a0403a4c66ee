"""Backends that announce themselves on the network (DNS-SD over multicast DNS).

Stock Ollama, LM Studio, llama.cpp and vLLM do not announce themselves: what is found here was
announced by a person (`nexus announce`), a wrapper, or another Nexus.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from nexus_proxy.config.model import DiscoveryConfig, TrustMdns
from nexus_proxy.discovery.base import Sink
from nexus_proxy.discovery.records import report_of
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    from zeroconf import ServiceStateChange, Zeroconf

log = logging.getLogger(__name__)

RESOLVE_MS = 3000
NETWORK_CHECK_SECONDS = 15.0
"""How often the interfaces are compared, so that a laptop that changes networks keeps seeing."""
SERVICE_LIMIT = 64
"""Announcements that are followed at a time; a flood of them is not."""
_SERVICE_TYPE = re.compile(r"_[A-Za-z0-9-]{1,15}\._(tcp|udp)\.local\.")


class MdnsBrowser:
    """Follows announcements of the configured service types.

    A service that says goodbye, or whose record runs out, is withdrawn only after the grace
    period; until then nothing changes for its backend, so one that flaps is never stranded.
    `interfaces` are addresses to listen on; None: all of this machine's.
    """

    def __init__(self, config: DiscoveryConfig, *, interfaces: Sequence[str] | None = None) -> None:
        self._trust = config.trust_mdns
        self._grace = config.grace_period_seconds
        self._types = [name for name in config.service_types if _SERVICE_TYPE.fullmatch(name)]
        self._bad_types = [name for name in config.service_types if name not in self._types]
        self._interfaces = interfaces
        self._known: set[str] = set()
        self._flooded = False
        self._resolving: dict[str, asyncio.Task[None]] = {}
        self._vanishing: dict[str, asyncio.TimerHandle] = {}

    def looking_at(self) -> tuple[str, ...]:
        """`mDNS _ollama._tcp` and so on."""
        return tuple(f"mDNS {name.removesuffix('.local.')}" for name in self._types)

    async def run(self, sink: Sink) -> None:
        """Browse until cancelled. Where the network cannot do multicast, say so and retry."""
        for name in self._bad_types:
            sink.note(f"mDNS type {name!r} is not looked for: types look like _ollama._tcp.local.")
        await asyncio.to_thread(import_module, "zeroconf.asyncio")
        from zeroconf import Error

        told = ""
        try:
            while self._types:
                try:
                    await self._browse(sink)
                except (OSError, RuntimeError, Error) as error:
                    if told != str(error):
                        sink.note(_excuse(error))
                    told = str(error)
                self._vanish(tuple(self._known), sink)
                await asyncio.sleep(NETWORK_CHECK_SECONDS)
        finally:
            self._forget_all()

    async def _browse(self, sink: Sink) -> None:
        from zeroconf import InterfaceChoice, ServiceStateChange
        from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

        def changed(
            zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
        ) -> None:
            if state_change is ServiceStateChange.Removed:
                self._vanish((name,), sink)
            else:
                self._appear(zeroconf, service_type, name, sink)

        interfaces = InterfaceChoice.All if self._interfaces is None else list(self._interfaces)
        async with (
            AsyncZeroconf(interfaces=interfaces) as network,
            AsyncServiceBrowser(network.zeroconf, self._types, handlers=[changed]),
        ):
            while True:
                await asyncio.sleep(NETWORK_CHECK_SECONDS)
                await network.zeroconf.async_update_interfaces()

    def _appear(self, zeroconf: Zeroconf, service_type: str, name: str, sink: Sink) -> None:
        if timer := self._vanishing.pop(name, None):
            timer.cancel()
        if name not in self._known and len(self._known) >= SERVICE_LIMIT:
            if not self._flooded:
                sink.note(f"more than {SERVICE_LIMIT} servers are announced; the rest is left out")
            self._flooded = True
            return
        self._known.add(name)
        self._stop_resolving(name)
        self._resolving[name] = spawn(
            self._resolve(zeroconf, service_type, name, sink), name="mdns resolve"
        )

    async def _resolve(self, zeroconf: Zeroconf, service_type: str, name: str, sink: Sink) -> None:
        from zeroconf import Error
        from zeroconf.asyncio import AsyncServiceInfo

        try:
            info = AsyncServiceInfo(service_type, name)
            answered = await info.async_request(zeroconf, RESOLVE_MS)
        except Error as error:
            log.debug("an announcement cannot be read: %s", type(error).__name__)
            return
        found = report_of(info, trust_all=self._trust is TrustMdns.ALWAYS) if answered else None
        if found is None:
            log.debug("an announcement names no address that can be used")
        elif found.trusted or self._trust is not TrustMdns.NEVER:
            sink.report(found)

    def _vanish(self, names: Iterable[str], sink: Sink) -> None:
        for name in names:
            self._stop_resolving(name)
            if name in self._known and name not in self._vanishing:
                self._vanishing[name] = asyncio.get_running_loop().call_later(
                    self._grace, self._withdraw, name, sink
                )

    def _withdraw(self, name: str, sink: Sink) -> None:
        del self._vanishing[name]
        self._known.discard(name)
        sink.withdraw(name)

    def _stop_resolving(self, name: str) -> None:
        if task := self._resolving.pop(name, None):
            task.cancel()

    def _forget_all(self) -> None:
        for task in self._resolving.values():
            task.cancel()
        for timer in self._vanishing.values():
            timer.cancel()
        self._resolving.clear()
        self._vanishing.clear()


def _excuse(error: Exception) -> str:
    return (
        f"mDNS does not work on this network ({error}), so backends on other machines are not "
        f"found by themselves; add one with: nexus backends add URL"
    )
