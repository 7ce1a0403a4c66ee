"""`GET /` for browsers, its files, and the form that lets a browser on another machine in.

Whoever may use the management API may see the page: programs of this machine, and elsewhere who
has typed the management key, which is answered with a cookie of twelve hours. Nobody else sees
more than the form.
"""

from __future__ import annotations

from typing import cast

from quart import Quart, Response, request

from nexus_proxy.api import session
from nexus_proxy.api.access import Management
from nexus_proxy.api.asgi import Scope
from nexus_proxy.errors import NotFoundError, UnauthorizedError
from nexus_proxy.runtime import Runtime
from nexus_proxy.web import page
from nexus_proxy.web.assets import HEADERS, assets

FOLDER = "/web"
"""Where the page's files and its form are."""
HTML = "text/html; charset=utf-8"


def add_routes(app: Quart, runtime: Runtime, management: Management) -> None:
    """Add the routes of this module."""

    @app.get("/")
    async def dashboard() -> Response:
        try:
            management.check(cast("Scope", request.scope))
        except UnauthorizedError as error:
            # A browser asks without a cookie first; that is no mistake to tell anybody of.
            told = None if runtime.config.server.management_key_env else error.message
            return _html(page.sign_in(told), error.status)
        return _html(page.plain(await runtime.siblings.snapshot()))

    @app.get(f"{FOLDER}/<name>")
    async def asset(name: str) -> Response:
        found = assets().get(name)
        if found is None:
            raise NotFoundError(f"the dashboard has no file {name[:80]!r}")
        response = Response(found.body, content_type=found.type, headers=HEADERS)
        response.headers["Cache-Control"] = "no-cache"
        response.set_etag(found.tag)
        await response.make_conditional(request)
        return response

    @app.post(f"{FOLDER}/enter")
    async def enter() -> Response:
        form = await request.form
        try:
            value = management.admit(form.get("key", ""))
        except UnauthorizedError as error:
            return _html(page.sign_in(error.message), error.status)
        response = Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            session.NAME,
            value,
            max_age=session.SECONDS,
            httponly=True,
            samesite="Strict",
            secure="https" in (request.scheme, request.headers.get("X-Forwarded-Proto")),
        )
        return response

    @app.post(f"{FOLDER}/leave")
    async def leave() -> Response:
        response = Response(status=303, headers={"Location": "/"})
        response.delete_cookie(session.NAME, httponly=True, samesite="Strict")
        return response


def _html(text: str, status: int = 200) -> Response:
    response = Response(text, status=status, content_type=HTML, headers=HEADERS)
    response.headers["Cache-Control"] = "no-store"
    return response
