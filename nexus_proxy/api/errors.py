"""Every error of a Quart route as JSON in the dialect of its path, whoever raised it."""

from __future__ import annotations

import logging

from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from nexus_proxy.api.answers import JSON
from nexus_proxy.api.health import ANSWERS
from nexus_proxy.api.paths import HOT, REQUEST_ID, counted_as, dialect_of
from nexus_proxy.dialects.foreign import error_body
from nexus_proxy.errors import (
    ConfigError,
    InvalidRequestError,
    MethodNotAllowedError,
    NexusError,
    UnknownRouteError,
)
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.runtime import Runtime

log = logging.getLogger(__name__)

KEEPING = ("/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/")
"""Where Ollama's clients bring models, change them and throw them away."""


def install(app: Quart, runtime: Runtime) -> None:
    """Handle all errors of the app's routes here."""

    def answer(error: NexusError) -> Response:
        runtime.tally.refuse(error.code, counted_as(request.path, request.method))
        return _answer(error)

    @app.errorhandler(NexusError)
    async def refused(error: NexusError) -> Response:
        return answer(error)

    @app.errorhandler(HTTPException)
    async def http_error(error: HTTPException) -> Response:
        return answer(_named(error, app))

    @app.errorhandler(Exception)
    async def crashed(error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        return answer(NexusError("the gateway failed on this request; its log says why"))


def _answer(error: NexusError) -> Response:
    status = 422 if isinstance(error, ConfigError) else error.status
    request_id = str(request.scope.get(REQUEST_ID, ""))
    body = error_body(error, dialect_of(request.path), request_id)
    response = Response(body, status=status, content_type=JSON)
    for name, value in wire_headers.refusal(error):
        response.headers[name.decode()] = value.decode("latin-1")
    if isinstance(error, MethodNotAllowedError):
        response.headers["Allow"] = ", ".join(error.allow)
    return response


def _named(error: HTTPException, app: Quart) -> NexusError:
    """Werkzeug's exception as ours."""
    path, method = request.path[:200], request.method
    if isinstance(error, MethodNotAllowed):
        allowed = sorted(set(error.valid_methods or ()) - {"OPTIONS"})
        named = " or ".join(name for name in allowed if name != "HEAD")
        return MethodNotAllowedError(f"{path} takes {named} only", allow=allowed)
    if error.code in (404, 405):
        return UnknownRouteError(_no_such_route(method, path, app))
    return InvalidRequestError(f"{method} {path}: {error.description or error.name}")


def _no_such_route(method: str, path: str, app: Quart) -> str:
    if path.startswith(KEEPING):
        return (
            f"{method} {path}: Nexus keeps no models. Ask the Ollama that is to have them: "
            "OLLAMA_HOST=its-address ollama …"
        )
    return f"{method} {path}: there is no such route. It serves: {', '.join(served(app))}"


def served(app: Quart) -> list[str]:
    """Paths of all routes, hot ones too; those of the management API by their common prefix, and
    not the dashboard's files."""
    paths = {
        rule.rule.replace("<path:", "{").replace(">", "}") for rule in app.url_map.iter_rules()
    }
    inner = {path for path in paths if path.startswith(("/nexus/", "/web/"))}
    clients = sorted({*ANSWERS, *HOT, *paths} - inner)
    return [*clients, "/nexus/v1/*"]
