"""`GET /nexus/v1/logs`: the last lines of the log that are kept, oldest first.

`level` is the least one told, `component` the part that wrote it, `since` in seconds since the
epoch, `limit` how many of the newest.
"""

from __future__ import annotations

from quart import Quart, Response, request

from nexus_proxy.api.answers import json_answer
from nexus_proxy.api.asking import moment, whole_number
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.runtime import Runtime
from nexus_proxy.telemetry.logs import KEPT_LINES, LEVELS


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.get("/nexus/v1/logs")
    async def logs() -> Response:
        told = _told(request.args.get("level"))
        component, since = request.args.get("component"), moment(request.args.get("since"))
        limit = whole_number("limit", request.args.get("limit"), KEPT_LINES)
        lines = [
            line
            for line in (await runtime.siblings.snapshot()).logs
            if line.level in told
            and line.at >= since
            and (component is None or line.component == component)
        ]
        return json_answer({"lines": lines[max(0, len(lines) - limit) :]})


def _told(least: str | None) -> tuple[str, ...]:
    """The levels from `least` up."""
    if least is None:
        return (*LEVELS, "critical")
    if least not in LEVELS:
        raise InvalidRequestError(f"level must be one of {', '.join(LEVELS)}, not {least[:40]!r}")
    return (*LEVELS[LEVELS.index(least) :], "critical")
