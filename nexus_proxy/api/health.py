"""`/health`, `/health/live`, `/health/ready`, and `GET /`: is it there, and can it serve?

Programs that ask `/` for nothing in particular get the sentence by which they know an Ollama;
browsers get the dashboard.

Answered by the front itself: a health check must not wait for the half second that Quart takes
to import.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from nexus_proxy import __version__
from nexus_proxy.api.catalogue import Offered
from nexus_proxy.relay.headers import Headers
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import BackendState

Answer = tuple[int, dict[str, object]]


GREETING = b"Ollama is running"
_HTML = b"text/html"


def wants_greeting(path: str, headers: Headers) -> bool:
    """Whether a client only looks for an Ollama."""
    return path == "/" and b"application/json" not in headers.get(b"accept", b"")


def wants_page(path: str, headers: Headers) -> bool:
    """Whether a browser asks, and gets the dashboard."""
    return path == "/" and _HTML in headers.get(b"accept", b"")


async def root(runtime: Runtime) -> Answer:
    """Name, version, address."""
    return 200, {
        "name": "nexus",
        "version": __version__,
        "endpoint": f"{runtime.endpoint}/v1",
        "docs": "GET /v1/models lists the models, GET /health says how the backends are; "
        "`nexus --help` has the rest.",
    }


async def health(runtime: Runtime) -> Answer:
    """Always 200. Backends that are disabled or not accepted do not count; one that drains is
    healthy. Where several workers serve, one is healthy that no worker finds to be down."""
    offered = Offered(runtime.registry)
    backends = list(offered)
    down = {
        name
        for healths in await runtime.siblings.healths()
        for name, state in healths.items()
        if state in (BackendState.DOWN, BackendState.LOADING)
    }
    healthy = sum(b.health is BackendState.UP and b.name not in down for b in backends)
    return 200, {
        "status": _status(
            healthy,
            len(backends),
            limits_hold=runtime.replicas.problem is None and not runtime.ledger.problems,
        ),
        "version": __version__,
        "uptime_seconds": round(time.time() - runtime.started_at, 3),
        "backends": {
            "total": len(backends),
            "healthy": healthy,
            "unhealthy": len(backends) - healthy,
        },
        "models": {"total": len(offered.served_ids())},
    }


async def live(runtime: Runtime) -> Answer:
    """200 while the loop runs; says which worker's, where there are several."""
    alive: dict[str, object] = {"status": "alive"}
    return 200, alive if runtime.seat.tag is None else {**alive, "worker": runtime.seat.tag}


async def ready(runtime: Runtime) -> Answer:
    """200 while somebody can serve what comes to this process; else 503 with the reason."""
    if reason := _why_not_ready(runtime):
        return 503, {"status": "not ready", "reason": reason}
    return 200, {"status": "ready"}


ANSWERS: dict[str, Callable[[Runtime], Awaitable[Answer]]] = {
    "/": root,
    "/health": health,
    "/health/live": live,
    "/health/ready": ready,
}


def _status(healthy: int, total: int, *, limits_hold: bool) -> str:
    """`limits_hold`: neither cut off from the replicas nor unable to keep what is spent."""
    if healthy == 0:
        return "unhealthy"
    return "healthy" if healthy == total and limits_hold else "degraded"


def _why_not_ready(runtime: Runtime) -> str | None:
    if runtime.draining:
        return "the gateway is stopping"
    backends = list(Offered(runtime.registry))
    if not backends:
        return "no backend is listed yet, or none is accepted"
    up = [b for b in backends if b.health is BackendState.UP and not b.drained]
    if not up:
        return "no backend is up and takes requests"
    return None if any(b.models for b in up) else "the backends that are up list no model"
