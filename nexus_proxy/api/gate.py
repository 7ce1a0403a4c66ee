"""Who may talk to the gateway at all: `Host` and `Origin` checks, CORS. Pure.

A page in a browser can reach a server on loopback, by name (DNS rebinding) or by a simple POST
that needs no preflight. So on a loopback bind the `Host` must be a name of this machine, and a
request with an `Origin` that is not allowed is refused whatever its method. `Sec-Fetch-Mode` is
not looked at: Node's own fetch sends `cors`.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from fnmatch import translate
from functools import lru_cache

from nexus_proxy.errors import ForbiddenError

DEFAULT_ORIGINS = (
    "http://localhost",
    "http://localhost:*",
    "https://localhost",
    "https://localhost:*",
    "http://127.0.0.1",
    "http://127.0.0.1:*",
    "https://127.0.0.1",
    "https://127.0.0.1:*",
    "http://[[]::1]",
    "http://[[]::1]:*",
    "https://[[]::1]",
    "https://[[]::1]:*",
    "app://*",
    "tauri://*",
    "vscode-webview://*",
)
EXPOSED = (
    b"x-request-id, request-id, retry-after, retry-after-ms, x-should-retry, server-timing, "
    b"x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    b"x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    b"x-nexus-node, x-nexus-upstream-request-id, x-nexus-backend, x-nexus-backend-type, "
    b"x-nexus-model, x-nexus-route-reason, x-nexus-privacy-zone, "
    b"x-nexus-fallback-model, x-nexus-truncated, x-nexus-rejection-reasons, "
    b"x-nexus-rejection-details"
)
PREFLIGHT_SECONDS = b"600"

_HOST = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(?::\d*)?")

_ORIGIN = re.compile(r"null|[a-z][a-z\d+.-]*://(?:\[[\da-f:.]+\]|[^\s:,@/?#\[\]]*)(?::\d+)?")
"""What a browser says: a `*` for the port must not take more of a name along."""

Headers = Mapping[bytes, bytes]


class Gate:
    """The rules of one running gateway. `loopback`: it is bound to loopback only."""

    def __init__(self, *, loopback: bool, allowed_origins: Sequence[str]) -> None:
        self._loopback = loopback
        self.allow(allowed_origins)
        # The same few hosts come with every request.
        self._is_own_host = lru_cache(maxsize=256)(self._judge_host)
        self._own_names = {"localhost", socket.gethostname().lower(), "host.docker.internal"}

    def allow(self, origins: Sequence[str]) -> None:
        """Take over a changed `server.allowed_origins`; empty: the usual ones."""
        patterns = origins or DEFAULT_ORIGINS
        self._origins = re.compile("|".join(translate(p.lower()) for p in patterns))

    def check(self, headers: Headers, *, own_page: bool = False) -> None:
        """Raises `ForbiddenError` with what to do about it.

        `own_page`: the dashboard asks for this, under whatever name it was opened. Only for what
        needs the management key off loopback: a page that had its name rebound to this address
        looks the same, but has no cookie.
        """
        # Without the header, which HTTP/1.0 allows, it is no browser.
        host = headers.get(b"host", b"localhost").decode("latin-1")
        if self._loopback and not self._is_own_host(host):
            raise ForbiddenError(
                "this Host name is not one of this machine's; use http://127.0.0.1 or localhost"
            )
        origin = headers.get(b"origin")
        if own_page and origin is not None and _is_of(origin, host):
            return
        if origin is not None and not self.allows(origin):
            raise ForbiddenError(
                f"pages of {origin.decode('latin-1')[:200]} may not use this gateway; add the "
                "origin to server.allowed_origins if they should"
            )

    def check_management(self, headers: Headers) -> None:
        """Stricter rule for routes that change things. Raises `ForbiddenError`."""
        if headers.get(b"sec-fetch-site", b"").lower() == b"cross-site":
            raise ForbiddenError("other sites' pages may not manage this gateway")

    def allows(self, origin: bytes) -> bool:
        """Whether a browser page of this origin may call. Several origins are none."""
        name = origin.decode("latin-1").lower()
        return _ORIGIN.fullmatch(name) is not None and self._origins.match(name) is not None

    def cors(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """CORS headers for an answer to a request that passed `check`."""
        origin = headers.get(b"origin")
        if origin is None:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", EXPOSED),
            (b"vary", b"Origin"),
        ]

    def preflight(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """What goes beside `cors` on the answer to an OPTIONS request that passed `check`."""
        asked = headers.get(b"access-control-request-headers", b"authorization, content-type")
        return [
            (b"access-control-allow-methods", b"GET, HEAD, POST, DELETE, OPTIONS"),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
        ]

    def _judge_host(self, host: str) -> bool:
        name = _name_in(host)
        if name is None:
            return False
        if name in self._own_names or name.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or address.is_private


def names_loopback(host: str) -> bool:
    """Whether a `Host` can only mean the machine that the client is on."""
    name = _name_in(host) or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def _name_in(host: str) -> str | None:
    read = _HOST.fullmatch(host.strip().lower())
    return None if read is None else (read["v6"] or read["name"]).rstrip(".")


def _is_of(origin: bytes, host: str) -> bool:
    """Whether a page of this origin came from this host. TLS may end in front of the gateway."""
    scheme, _, place = origin.decode("latin-1").lower().partition("://")
    return scheme in ("http", "https") and place == host.strip().lower()
