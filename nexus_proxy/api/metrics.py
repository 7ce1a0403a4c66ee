"""`GET /metrics`, for Prometheus: all workers as one.

Open to this machine; others need the management key, since it names models and API keys and tells
what is spent.
"""

from __future__ import annotations

import asyncio

from quart import Quart, Response, request

from nexus_proxy.runtime import Runtime
from nexus_proxy.telemetry.metrics import exposition


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.get("/metrics")
    async def metrics() -> Response:
        tally = await runtime.siblings.tally()
        snapshot = await runtime.siblings.snapshot()
        accept = request.headers.get("Accept", "")
        # Both are copies, and a page of a thousand series takes longer than a token may wait.
        page, content_type = await asyncio.to_thread(exposition, tally, snapshot, accept)
        return Response(page, content_type=content_type)
