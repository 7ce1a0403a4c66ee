"""Whether a server is listed already under another of its addresses."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from urllib.parse import urlsplit

from nexus_proxy.backends.address import canonical
from nexus_proxy.registry import Backend

LOOKUP_SECONDS = 2.0


async def twin_of(url: str, backends: Iterable[Backend]) -> Backend | None:
    """The listed backend that a normalised URL leads to, or None.

    A name is looked up only to compare it with a backend known by its IP address, or the other
    way round: two names on one address are two servers behind one proxy.
    """
    address, named = canonical(url), _is_named(url)
    candidates = list(backends)
    for backend in candidates:
        if backend.address == address:
            return backend
    others = [backend for backend in candidates if _is_named(backend.url) is not named]
    if named:
        mine = await _resolved(url) if others else frozenset()
        return next((backend for backend in others if backend.address in mine), None)
    theirs = await asyncio.gather(*(_resolved(backend.url) for backend in others))
    return next((b for b, found in zip(others, theirs, strict=True) if address in found), None)


def _is_named(url: str) -> bool:
    host = urlsplit(f"//{canonical(url)}").hostname or ""
    try:
        ip_address(host)
    except ValueError:
        return True
    return False


async def _resolved(url: str) -> frozenset[str]:
    """The canonical addresses that the URL's host name stands for; empty where nobody knows."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return frozenset(
        canonical(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}")
        for host in await _look_up(parts.hostname or "")
    )


async def _look_up(host: str) -> tuple[str, ...]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(LOOKUP_SECONDS):
            answers = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return ()
    return tuple({str(answer[4][0]).partition("%")[0] for answer in answers})
