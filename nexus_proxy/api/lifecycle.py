"""`/v1/models/load`, `/v1/models/migrate`, `DELETE /v1/models/{id}`, `/v1/lifecycle/operations`,
and `/v1/fleet/recommendations`.

The first three answer 202 at once with the operation, which goes on whether or not the client does;
the fourth tells how it stands. A backend's id is its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from quart import Quart, Response, request

from nexus_proxy.api.answers import json_answer, json_object
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.lifecycle.operation import report
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import OperationView


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    async def begin(verb: str, **arguments: str) -> Response:
        result = await runtime.siblings.run_command(verb, arguments)
        view = msgspec.convert(result.data["operation"], OperationView)
        return json_answer(report(view, view.started), status=202)

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
        reports = [report(view, snapshot.taken_at) for view in snapshot.operations]
        return json_answer({"operations": reports})

    @app.get("/v1/fleet/recommendations")
    async def recommendations() -> Response:
        return json_answer(await runtime.fleet.report())


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        known = "the name of a backend" if name.endswith("backend_id") else "the id of a model"
        raise InvalidRequestError(f"{name} is missing: it is {known}", param=name)
    return value
