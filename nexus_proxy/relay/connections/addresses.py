"""The addresses of one host: looked up seldom, by one lookup at a time, and kept when that fails.

Lookups run in a pool of four threads (libuv's), and one for a `.local` name that nobody answers
takes five seconds and more. So each backend has at most one under way, and one that has been found
is not looked up again for half a minute: four dead names still leave the others their addresses.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType

from nexus_proxy.tasks import spawn

FRESH_SECONDS = 30.0
"""Shorter than the TTL that clouds move their names by (60 s, typically)."""
STALE_AFTER = 0.3
"""Seconds that a new lookup may take before the old addresses are used meanwhile (the idea of
RFC 8767)."""


class Addresses:
    """Where a host is. `on_this_machine`: it is an address of the loopback, not a name."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._known: Sequence[AddrInfoType] = ()
        self._fresh_until = 0.0
        self._lookup: asyncio.Task[Sequence[AddrInfoType] | OSError] | None = None
        self._literal = _literal(host, port)
        self.on_this_machine = bool(self._literal) and ip_address(host).is_loopback

    async def find(self) -> Sequence[AddrInfoType]:
        """All addresses, in the resolver's order. Raises `OSError` when there is none."""
        if self._literal:
            return self._literal
        if self._known and asyncio.get_running_loop().time() < self._fresh_until:
            return self._known
        if self._lookup is None:
            self._lookup = spawn(self._look_up(), name=f"look up {self.host}")
        # Not awaited itself: whoever gives up waiting must not take it from those who wait on.
        done, _ = await asyncio.wait({self._lookup}, timeout=STALE_AFTER if self._known else None)
        found = next(iter(done)).result() if done else self._known
        if isinstance(found, OSError):
            if not self._known:
                raise found
            return self._known
        return found

    def doubt(self) -> None:
        """None of them took a connection: look anew next time."""
        self._known = ()

    async def _look_up(self) -> Sequence[AddrInfoType] | OSError:
        loop = asyncio.get_running_loop()
        try:
            self._known = found = await loop.getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM
            )
        except OSError as error:
            return error
        except UnicodeError:
            return socket.gaierror(socket.EAI_NONAME, "it is not the name of a host")
        finally:
            self._lookup = None
        self._fresh_until = loop.time() + FRESH_SECONDS
        return found


def _literal(host: str, port: int) -> Sequence[AddrInfoType]:
    """What `host` means without asking anybody: its address, if it is one."""
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ()
