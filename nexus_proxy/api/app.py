"""Every route that is not hot, by Quart. Imported while the gateway already serves."""

from __future__ import annotations

import logging
from typing import cast

from quart import Quart

from nexus_proxy.api import (
    access,
    configuration,
    dashboard,
    errors,
    events,
    lifecycle,
    logs,
    management,
    messages,
    metrics,
    models,
    ollama,
    stats,
)
from nexus_proxy.api.asgi import Receive, Scope, Send
from nexus_proxy.api.body import BodyFirst
from nexus_proxy.api.front import App
from nexus_proxy.api.websockets import Live
from nexus_proxy.runtime import Runtime
from nexus_proxy.web.hub import Hub

RESPONSE_SECONDS = 60
"""To write an answer out. The event stream switches it off for itself."""


def create_app(runtime: Runtime, *, loopback: bool) -> App:
    """The routes over one runtime. `loopback`: the gateway is bound to loopback only."""
    # Quart puts a handler of its own on standard error where it finds none: it finds this one.
    logging.getLogger(__name__).addHandler(logging.NullHandler())
    app = Quart(__name__, static_folder=None)
    # `BodyFirst` bounds size and time of bodies before Quart sees them.
    app.config.update(MAX_CONTENT_LENGTH=None, BODY_TIMEOUT=None, RESPONSE_TIMEOUT=RESPONSE_SECONDS)
    # Paths are made canonical by the front; nothing is ever redirected.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    errors.install(app, runtime)
    management_access = access.guard(app, runtime, loopback=loopback)
    families = (models, ollama, messages, management, configuration, events, metrics, stats)
    for family in (*families, lifecycle, logs):
        family.add_routes(app, runtime)
    dashboard.add_routes(app, runtime, management_access)
    live = Live(Hub(runtime), management_access)
    over_http = BodyFirst(cast("App", app), runtime)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await live(scope, receive, send)
        else:
            await over_http(scope, receive, send)

    return serve
