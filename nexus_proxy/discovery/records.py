"""From an mDNS record to a report. Anyone on the network can write anything into a record.

Only addresses, port and path are used, each checked; the kind that a record claims is compared
with what the server says of itself, and a name only colours the backend's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nexus_proxy.backends.address import normalise
from nexus_proxy.discovery.base import Found
from nexus_proxy.discovery.zones import own_machine
from nexus_proxy.state import Source

if TYPE_CHECKING:
    from zeroconf import ServiceInfo

TEXT_LIMIT = 64
"""Characters of a TXT value that are read; the rest is somebody's joke."""
ADDRESS_LIMIT = 8
_PATH = re.compile(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,31}){1,4}/?")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]+")


def report_of(info: ServiceInfo, *, trust_all: bool) -> Found | None:
    """What a resolved record says, or None where it names no usable address.

    A server of this machine is trusted, others if `trust_all`.
    """
    txt = texts(info.properties)
    urls = tuple(_urls(info, txt.get("api_path", "")))
    if not urls:
        return None
    service = info.type.removesuffix(".local.")
    host = slug(txt.get("name", "")) or slug((info.server or "").partition(".")[0])
    return Found(
        key=info.name,
        urls=urls,
        known_as=tuple(_by_name(info)),
        source=Source.MDNS,
        origin=f"announced over mDNS as {service} by {urlsplit(urls[0]).hostname}",
        trusted=trust_all or all(own_machine(url) for url in urls),
        host=host or None,
        claims=slug(txt.get("type", "")) or None,
    )


def texts(properties: Mapping[bytes, bytes | None]) -> dict[str, str]:
    """TXT values by lower-case key, printable and bounded; what cannot be decoded is left out."""
    found: dict[str, str] = {}
    for key, value in properties.items():
        try:
            name, text = key.decode("ascii").lower(), (value or b"").decode("utf-8")
        except UnicodeDecodeError:
            continue
        found.setdefault(name, "".join(filter(str.isprintable, text))[:TEXT_LIMIT])
    return found


def slug(text: str) -> str:
    """Foreign text as part of a name: letters, digits, `.`, `_`, `-`; at most 32."""
    return _NOT_IN_NAMES.sub("-", text)[:32].strip("-._")


def _urls(info: ServiceInfo, api_path: str) -> list[str]:
    """IPv4 first. Addresses that cannot be a backend's (multicast, link-local) are left out.

    A server of this machine is reached by loopback first, since its other addresses may belong to
    a stranger once this machine has changed networks; a stranger's in its record are left out.
    """
    path = api_path if _PATH.fullmatch(api_path) else ""
    urls = []
    for address in info.parsed_scoped_addresses()[:ADDRESS_LIMIT]:
        if ip_address(address).is_link_local:
            continue
        try:
            urls.append(_url(address, info.port, path))
        except ValueError:
            continue
    if own := [url for url in urls if own_machine(url)]:
        return list(dict.fromkeys([_url("127.0.0.1", info.port, path), *own]))
    return urls


def _by_name(info: ServiceInfo) -> list[str]:
    try:
        return [_url((info.server or "").rstrip("."), info.port, "")]
    except ValueError:
        return []


def _url(host: str, port: int | None, path: str) -> str:
    scheme = "https" if port == 443 else "http"
    return normalise(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or 0}{path}")
