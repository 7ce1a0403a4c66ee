"""Who may use what Quart serves. The management API: programs of this machine, or the holder of
the management key; so also for what tells about everybody's requests, and for the dashboard. To
look at it all, and change nothing: the holders of API keys that may watch. What clients use: the
holders of API keys, where there are any.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from enum import StrEnum
from typing import cast

from quart import Quart, g, request

from nexus_proxy.admission.keys import Key
from nexus_proxy.api import session
from nexus_proxy.api.asgi import Scope
from nexus_proxy.api.gate import names_loopback
from nexus_proxy.api.paths import is_management, only_looks
from nexus_proxy.errors import ForbiddenError, UnauthorizedError
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.headers import Headers
from nexus_proxy.runtime import Runtime

DATA = ("/v1/", "/api/")
_PROXIED = (b"forwarded", b"x-forwarded-for", b"x-real-ip")
"""With one of these, the neighbour on loopback is a reverse proxy and speaks for somebody else."""


class Access(StrEnum):
    """What somebody who is let in may do."""

    FULL = "full"
    READ_ONLY = "read-only"


def guard(app: Quart, runtime: Runtime, *, loopback: bool) -> Management:
    """Refuse management requests of strangers. `loopback`: the gateway is bound to it only."""
    management = Management(runtime, loopback=loopback)

    @app.before_request
    async def check() -> None:
        if is_management(request.path, request.method):
            g.access = management.check(cast("Scope", request.scope))
        elif request.path.startswith(DATA):
            g.key = caller(runtime)

    return management


def caller(runtime: Runtime) -> Key | None:
    """The API key of this request; None where none is needed. Raises `UnauthorizedError`."""
    keyring = runtime.keyring
    if not keyring.required:
        return None
    return keyring.check(wire_headers.joined(request.scope["headers"]))


class Management:
    """Who may see and change everything. `loopback`: the gateway is bound to it only."""

    def __init__(self, runtime: Runtime, *, loopback: bool) -> None:
        self._runtime, self._loopback = runtime, loopback

    def check(self, scope: Scope) -> Access:
        """Judge a request or a WebSocket by its ASGI scope.

        Raises `UnauthorizedError`, and `ForbiddenError` where somebody who may look does more.
        """
        headers = wire_headers.joined(scope["headers"])
        if _is_near(scope.get("client"), headers) and (self._loopback or _calls_it_near(headers)):
            return Access.FULL
        watcher = self._runtime.keyring.find(headers)
        if watcher is not None and watcher.watch:
            self._let_look(watcher, scope)
            return Access.READ_ONLY
        key = self._key()
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), key):
            return Access.FULL
        if not session.holds(headers.get(b"cookie", b""), key, now=time.time()):
            wrong = "that is not the management key: " if given.strip() else ""
            raise UnauthorizedError(
                f"{wrong}the management API takes the key in {self._variable} of the "
                "gateway, as `Authorization: Bearer …`; `nexus` sends what is in NEXUS_API_KEY. "
                "To look, an API key with `watch = true` is enough"
            )
        return Access.FULL

    def admit(self, given: str) -> str:
        """The cookie for a browser whose user typed the key. Raises `UnauthorizedError`."""
        key = self._key()
        if not hmac.compare_digest(given.strip().encode(), key):
            raise UnauthorizedError(
                f"that is not the key; it is in {self._variable}, where the gateway was started"
            )
        return session.cookie(key, now=time.time())

    def _let_look(self, key: Key, scope: Scope) -> None:
        if not only_looks(scope["path"], scope.get("method", "GET")):
            raise ForbiddenError(
                f"the API key {key.name!r} may look, and change nothing; that takes the "
                "management key"
            )
        if self._runtime.config.logging.enable_content_logging:
            raise ForbiddenError(
                "prompts and answers are logged now (logging.enable_content_logging), which "
                f"whoever holds the API key {key.name!r} is not to read"
            )

    @property
    def _variable(self) -> str | None:
        return self._runtime.config.server.management_key_env

    def _key(self) -> bytes:
        key = self._runtime.environ.get(self._variable, "") if self._variable else ""
        if not key:
            raise UnauthorizedError(
                "the management API is closed to other machines, since it has no key: name a "
                "variable in server.management_key_env, put the key into it and start the gateway "
                "again"
            )
        return key.encode()


def _is_near(client: tuple[str, int] | None, headers: Headers) -> bool:
    if client is None or any(name in headers for name in _PROXIED):
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _calls_it_near(headers: Headers) -> bool:
    """Where others may come by other ways, a tunnel on this machine speaks for somebody else too,
    and a page in a browser here can have its own name lead to this address."""
    return names_loopback(headers.get(b"host", b"").decode("latin-1"))
