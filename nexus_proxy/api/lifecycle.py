"""`/v1/models/load`, `/v1/models/migrate`, `DELETE /v1/models/{id}` and `/v1/lifecycle/operations`.

All but the last answer 202 at once with the operation, which goes on whether or not the client does;
the last one tells how it stands. A backend's id is its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from quart import Quart, Response, request

from nexus_proxy.api.answers import json_answer, json_object
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import OperationPhase, OperationView

_STATUS = {OperationPhase.DONE: "completed", OperationPhase.FAILED: "failed"}
MOST_PROGRESS = 0.99


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    async def begin(verb: str, **arguments: str) -> Response:
        result = await runtime.siblings.run_command(verb, arguments)
        view = msgspec.convert(result.data["operation"], OperationView)
        return json_answer({**told(view, view.started), "message": result.message}, status=202)

    @app.post("/v1/models/load")
    async def load() -> Response:
        body = await json_object()
        model, backend = _text(body, "model_id"), _text(body, "backend_id")
        return await begin("model.load", model=model, backend=backend)

    @app.post("/v1/models/migrate")
    async def migrate() -> Response:
        body = await json_object()
        source, target = _text(body, "source_backend_id"), _text(body, "target_backend_id")
        model = _text(body, "model_id")
        return await begin("model.migrate", model=model, backend=source, target=target)

    @app.delete("/v1/models/<path:model>")
    async def unload(model: str) -> Response:
        backend = _text(request.args, "backend_id")
        return await begin("model.unload", model=model, backend=backend)

    @app.get("/v1/lifecycle/operations")
    async def operations() -> Response:
        snapshot = await runtime.siblings.snapshot()
        views = [told(view, snapshot.taken_at) for view in snapshot.operations]
        return json_answer({"operations": views})


def told(view: OperationView, now: float) -> dict[str, Any]:
    """An operation as programs read it. `progress` is 0 to 1, reckoned from how long loading took
    before; null where that is not known."""
    return {
        "operation_id": view.id,
        "type": view.kind,
        "model_id": view.model,
        "backend_id": view.backend,
        "target_backend_id": view.target,
        "status": _STATUS.get(view.phase, "in_progress"),
        "phase": view.phase,
        "acts_on": view.acts_on,
        "progress": _progress(view, now),
        "started_at": view.started,
        "ended_at": view.ended,
        "elapsed_seconds": round((view.ended or now) - view.started, 3),
        "eta_seconds": view.eta_seconds,
        "waits_for_requests": view.waits_for,
        "error": view.error,
    }


def _progress(view: OperationView, now: float) -> float | None:
    if view.phase is OperationPhase.DONE:
        return 1.0
    if view.phase is not OperationPhase.LOADING or not view.eta_seconds:
        return None
    return round(min(MOST_PROGRESS, max(0.0, now - view.phase_since) / view.eta_seconds), 3)


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        known = "the name of a backend" if name.endswith("backend_id") else "the id of a model"
        raise InvalidRequestError(f"{name} is missing: it is {known}", param=name)
    return value
