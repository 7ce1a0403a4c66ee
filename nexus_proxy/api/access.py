"""Who may use what Quart serves. The management API: programs of this machine, or the holder of
the management key; so also for what tells about everybody's requests. What clients use: the
holders of API keys, where there are any.
"""

from __future__ import annotations

import hmac
import ipaddress

from quart import Quart, g, request

from nexus_proxy.admission.keys import Key
from nexus_proxy.api.paths import is_management
from nexus_proxy.errors import UnauthorizedError
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.runtime import Runtime

DATA = ("/v1/", "/api/")
_PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip")
"""With one of these, the neighbour on loopback is a reverse proxy and speaks for somebody else."""


def guard(app: Quart, runtime: Runtime, *, loopback: bool) -> None:
    """Refuse management requests of strangers. `loopback`: the gateway is bound to it only."""

    @app.before_request
    async def check() -> None:
        if is_management(request.path, request.method):
            if not (loopback and _is_near()):
                _check_key(runtime)
        elif request.path.startswith(DATA):
            g.key = caller(runtime)


def caller(runtime: Runtime) -> Key | None:
    """The API key of this request; None where none is needed. Raises `UnauthorizedError`."""
    keyring = runtime.keyring
    if not keyring.required:
        return None
    return keyring.check(wire_headers.joined(request.scope["headers"]))


def _is_near() -> bool:
    client = request.scope.get("client")
    if client is None or any(name in request.headers for name in _PROXIED):
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


def _check_key(runtime: Runtime) -> None:
    variable = runtime.config.server.management_key_env
    key = runtime.environ.get(variable, "") if variable else ""
    if not key:
        raise UnauthorizedError(
            "the management API is closed to other machines, since it has no key: name a variable "
            "in server.management_key_env, put the key into it and start the gateway again"
        )
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    matches = hmac.compare_digest(given.strip().encode(), key.encode())
    if scheme.lower() != "bearer" or not matches:
        raise UnauthorizedError(
            f"the management API takes the key in {variable} of the gateway, as "
            "`Authorization: Bearer …`; `nexus` sends what is in NEXUS_API_KEY"
        )
