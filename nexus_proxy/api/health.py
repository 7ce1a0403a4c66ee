"""`/health`, `/health/live`, `/health/ready`, and `GET /`: is it there, and can it serve?"""

from __future__ import annotations

import time

from quart import Quart, Response

from nexus_proxy import __version__
from nexus_proxy.api.answers import json_answer
from nexus_proxy.api.catalogue import Offered
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import BackendState


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    @app.get("/")
    async def root() -> Response:
        return json_answer(
            {
                "name": "nexus",
                "version": __version__,
                "endpoint": f"{runtime.endpoint}/v1",
                "docs": "GET /v1/models lists the models, GET /health says how the backends are; "
                "`nexus --help` has the rest.",
            }
        )

    @app.get("/health")
    async def health() -> Response:
        return json_answer(_health(runtime))

    @app.get("/health/live")
    async def live() -> Response:
        return json_answer({"status": "alive"})

    @app.get("/health/ready")
    async def ready() -> Response:
        if reason := _why_not_ready(runtime):
            return json_answer({"status": "not ready", "reason": reason}, status=503)
        return json_answer({"status": "ready"})


def _health(runtime: Runtime) -> dict[str, object]:
    """Backends that are disabled or not accepted do not count; one that drains is healthy."""
    offered = Offered(runtime.registry)
    backends = list(offered)
    healthy = sum(backend.health is BackendState.UP for backend in backends)
    return {
        "status": _status(healthy, len(backends)),
        "version": __version__,
        "uptime_seconds": round(time.time() - runtime.started_at, 3),
        "backends": {
            "total": len(backends),
            "healthy": healthy,
            "unhealthy": len(backends) - healthy,
        },
        "models": {"total": len(offered.served_ids())},
    }


def _status(healthy: int, total: int) -> str:
    if healthy == 0:
        return "unhealthy"
    return "healthy" if healthy == total else "degraded"


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
