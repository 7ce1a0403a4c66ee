"""The other side of mDNS: a real responder on loopback that can say anything."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from zeroconf import ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from nexus_proxy.config.model import DiscoveryConfig, TrustMdns
from tests.contract.discovery.world import LOOPBACK


class Announcer:
    """Announces services of one type of its own, so that tests do not hear each other."""

    def __init__(self, network: AsyncZeroconf) -> None:
        own = secrets.token_hex(5)
        self.service_type = f"_t{own}._tcp.local."
        # A goodbye takes the host's address with it, for whoever names the same host.
        self._host = f"h{own}.local."
        self._network = network

    def config(self, *, trust: TrustMdns = TrustMdns.ASK, grace: float = 0.05) -> DiscoveryConfig:
        """Browse for this announcer's type only."""
        return DiscoveryConfig(
            local_ports=False,
            cloud_from_env=False,
            service_types=[self.service_type],
            trust_mdns=trust,
            grace_period_seconds=grace,
        )

    def service(
        self,
        port: int,
        *,
        instance: str = "box",
        addresses: Sequence[str] = ("127.0.0.1",),
        txt: Mapping[str | bytes, str | bytes | None] | None = None,
        server: str | None = None,
    ) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            self.service_type,
            f"{instance}.{self.service_type}",
            port=port,
            parsed_addresses=list(addresses),
            properties=dict(txt or {}),
            server=server or self._host,
        )

    async def announce(self, info: AsyncServiceInfo) -> None:
        """Announce without the second of probing that politeness asks for."""
        await (await self._network.async_register_service(info, cooperating_responders=True))

    async def update(self, info: AsyncServiceInfo) -> None:
        await (await self._network.async_update_service(info))

    async def goodbye(self, info: AsyncServiceInfo) -> None:
        """Withdraw, and wait until a listener of our own holds it for gone (a second later)."""
        noticed = {change: asyncio.Event() for change in ServiceStateChange}

        def changed(name: str, state_change: ServiceStateChange, **_: Any) -> None:
            if name == info.name:
                noticed[state_change].set()

        async with (
            asyncio.timeout(8),
            AsyncZeroconf(interfaces=LOOPBACK) as other,
            AsyncServiceBrowser(other.zeroconf, self.service_type, handlers=[changed]),
        ):
            await noticed[ServiceStateChange.Added].wait()
            await (await self._network.async_unregister_service(info))
            await noticed[ServiceStateChange.Removed].wait()


@asynccontextmanager
async def announcer() -> AsyncIterator[Announcer]:
    async with AsyncZeroconf(interfaces=LOOPBACK) as network:
        yield Announcer(network)
