"""Announcing a backend of this machine over mDNS, so that other Nexus instances find it.

Stock Ollama, LM Studio, llama.cpp and vLLM do not announce themselves.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct

from nexus_proxy.backends.address import local_addresses, normalise
from nexus_proxy.backends.fingerprint import NotABackend
from nexus_proxy.config.model import BackendType
from nexus_proxy.discovery.identify import Identity, identify
from nexus_proxy.discovery.local_ports import accepts
from nexus_proxy.discovery.records import slug
from nexus_proxy.discovery.zones import own_machine
from nexus_proxy.errors import CommandError

if TYPE_CHECKING:
    import httpx
    from zeroconf import ServiceInfo

REACH_SECONDS = 1.0
NETWORK_CHECK_SECONDS = 5.0
"""How often this machine's addresses are compared: a laptop changes networks."""
_HOW_TO_OPEN = {
    BackendType.OLLAMA: "start it with OLLAMA_HOST=0.0.0.0",
    BackendType.LMSTUDIO: "switch on 'Serve on Local Network' in its developer settings",
}
_HOW_TO_OPEN_OTHERS = "start it with --host 0.0.0.0"


class Announcement(Struct, frozen=True, kw_only=True):
    """What is announced. `addresses` are those of `own_addresses`, all that this machine has,
    at which it answers; `warning` says why others may not reach it, and what to do."""

    instance: str
    service_type: str
    kind: str
    addresses: tuple[str, ...]
    own_addresses: tuple[str, ...]
    port: int
    warning: str | None


@asynccontextmanager
async def announced(
    url: str,
    name: str | None,
    *,
    client: httpx.AsyncClient,
    interfaces: Sequence[str] | None = None,
) -> AsyncIterator[Announcement]:
    """Announce the backend at `url` for as long as the block runs, and say goodbye after it.

    `interfaces` are addresses to announce on and to announce; None: all of this machine's.
    Raises `CommandError` where nothing usable answers at `url`, it is not on this machine, or the
    network cannot do multicast.
    """
    from zeroconf import Error, InterfaceChoice
    from zeroconf.asyncio import AsyncZeroconf

    identity = await _own_backend(client, url)
    host = slug(name or socket.gethostname().partition(".")[0]) or "this-machine"
    announcement = await _prepared(identity, host, interfaces)
    choice = InterfaceChoice.All if interfaces is None else list(interfaces)
    try:
        network = AsyncZeroconf(interfaces=choice)
    except (OSError, RuntimeError) as error:
        raise CommandError(f"mDNS does not work on this network: {error}") from None
    async with network:
        info = _service_info(identity, announcement, host)
        try:
            await (await network.async_register_service(info, allow_name_change=True))
        except Error as error:
            raise CommandError(f"the announcement was refused: {error!r}") from None
        yield announcement


async def until_moved(announcement: Announcement) -> None:
    """Return once this machine has other addresses than when it was announced."""
    while tuple(_lan_addresses()) == announcement.own_addresses:  # noqa: ASYNC110 - no event tells of it everywhere
        await asyncio.sleep(NETWORK_CHECK_SECONDS)


async def _own_backend(client: httpx.AsyncClient, url: str) -> Identity:
    try:
        base = normalise(url)
    except ValueError as error:
        raise CommandError(str(error)) from None
    if not own_machine(base):
        raise CommandError(f"{base} is not on this machine; run nexus announce on the one it is on")
    try:
        return await identify(client, base, node_id="")
    except NotABackend as error:
        raise CommandError(f"nothing is announced: {base}: {error}") from None


async def _prepared(
    identity: Identity, host: str, interfaces: Sequence[str] | None
) -> Announcement:
    parts = urlsplit(identity.url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = tuple(interfaces or _lan_addresses())
    open_ones = tuple([a for a in addresses if await accepts(_at(a, port), REACH_SECONDS)])
    warning = None
    if not addresses:
        warning = "this machine has no address on a network, so nobody can reach it"
    elif not open_ones:
        cure = _HOW_TO_OPEN.get(identity.type, _HOW_TO_OPEN_OTHERS)
        warning = (
            f"it listens on this machine only, so others will see it but not reach it at "
            f"{', '.join(_at(address, port) for address in addresses)}: {cure}"
        )
    kind = identity.kind
    service_type = f"_{kind if kind in ('ollama', 'nexus') else 'llm'}._tcp.local."
    return Announcement(
        instance=f"{kind} on {host}",
        service_type=service_type,
        kind=kind,
        addresses=open_ones or addresses,
        own_addresses=addresses,
        port=port,
        warning=warning,
    )


def _service_info(identity: Identity, announcement: Announcement, host: str) -> ServiceInfo:
    from zeroconf.asyncio import AsyncServiceInfo

    path = urlsplit(identity.url).path
    txt = {
        "type": announcement.kind,
        "api_path": path or ("" if identity.type is BackendType.OLLAMA else "/v1"),
        "version": identity.version or "",
        "name": host,
    }
    return AsyncServiceInfo(
        announcement.service_type,
        f"{announcement.instance}.{announcement.service_type}",
        port=announcement.port,
        parsed_addresses=list(announcement.addresses),
        properties={key: value for key, value in txt.items() if value},
        server=f"{host.replace('.', '-')}-{announcement.port}.local.",
    )


def _lan_addresses() -> list[str]:
    """This machine's addresses that others can use, IPv4 first."""
    usable = []
    for text in local_addresses(refresh=True):
        try:
            address = ip_address(text)
        except ValueError:
            continue
        if not (address.is_loopback or address.is_link_local):
            usable.append((address.version, text))
    return [text for _, text in sorted(usable)]


def _at(address: str, port: int) -> str:
    return f"http://{f'[{address}]' if ':' in address else address}:{port}"
