"""`GET /nexus/v1/logs`: the last lines of the log that are kept, oldest first.

`level` is the least one told, `component` the part that wrote it, `since` in seconds since the
epoch, `limit` how many of the newest. `oldest` and `newest` are when the first and the last line
that is kept was written, whatever was asked for (null: none is): who asks again and again can tell
that lines are gone that it has not seen.
"""

from __future__ import annotations

from quart import Quart, Response, request

from nexus_proxy.api.answers import json_answer
from nexus_proxy.api.asking import moment, whole_number
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.runtime import Runtime
from nexus_proxy.state.snapshot import SHOWN_LINES
from nexus_proxy.telemetry.logs import LEVELS


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the route of this module."""

    @app.get("/nexus/v1/logs")
    async def logs() -> Response:
        told = _told(request.args.get("level"))
        component, since = request.args.get("component"), moment(request.args.get("since"))
        limit = whole_number("limit", request.args.get("limit"), SHOWN_LINES)
        kept = (await runtime.siblings.snapshot()).logs
        lines = [
            line
            for line in kept
            if line.level in told
            and line.at >= since
            and (component is None or line.component == component)
        ]
        oldest, newest = (kept[0].at, kept[-1].at) if kept else (None, None)
        told_lines = lines[max(0, len(lines) - limit) :]
        return json_answer({"lines": told_lines, "oldest": oldest, "newest": newest})


def _told(least: str | None) -> tuple[str, ...]:
    """The levels from `least` up."""
    if least is None:
        return (*LEVELS, "critical")
    if least not in LEVELS:
        raise InvalidRequestError(f"level must be one of {', '.join(LEVELS)}, not {least[:40]!r}")
    return (*LEVELS[LEVELS.index(least) :], "critical")
