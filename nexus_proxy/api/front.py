"""The ASGI application: gate and tolerant paths for all, hot routes to the relay, the rest to
Quart.

Quart and what it brings take half a second to import, so it is loaded in a thread while the
gateway already serves; a request for it waits for that.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from nexus_proxy.api import health
from nexus_proxy.api.asgi import AsgiResponder, Incoming, Receive, Scope, Send
from nexus_proxy.api.gate import Gate
from nexus_proxy.api.hot import DISCARD_FACTOR, HotRoutes
from nexus_proxy.api.paths import HOT, REQUEST_ID, canonical, counted_as, dialect_of, is_own_page
from nexus_proxy.api.refusals import own_headers, refuse, refuse_websocket
from nexus_proxy.dialects.foreign import id_headers
from nexus_proxy.errors import MethodNotAllowedError, NexusError, SlowBodyError
from nexus_proxy.events import ConfigReloaded, Event
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.responder import HeaderList
from nexus_proxy.runtime import Runtime
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Front:
    """The whole HTTP side of one gateway. `loopback`: it is bound to loopback only."""

    def __init__(self, runtime: Runtime, *, loopback: bool) -> None:
        self._runtime = runtime
        self._gate = Gate(loopback=loopback, allowed_origins=runtime.config.server.allowed_origins)
        self._loopback = loopback
        self._rest: asyncio.Task[App] | None = None
        self.hot = HotRoutes(runtime, self._gate)
        runtime.bus.subscribe(self._reload, ConfigReloaded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    async def load_early(self) -> None:
        """Load Quart before the first request for it, but after what every request needs."""
        await self._runtime.started.wait()
        await self._loaded()

    def _reload(self, _event: Event) -> None:
        self._gate.allow(self._runtime.config.server.allowed_origins)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = wire_headers.joined(scope["headers"])
        path = canonical(scope["path"])
        receive, responder = Incoming(receive), AsgiResponder(send)
        cors: HeaderList = []
        try:
            self._gate.check(headers, own_page=is_own_page(path, scope["method"]))
            # Only now: a page that may not ask gets no header that lets it read the answer.
            cors = self._gate.cors(headers)
            if is_own_page(path, scope["method"]):
                self._gate.check_management(headers)
            if await self._answered(path, scope, headers, receive, responder):
                return
        except NexusError as error:
            if not isinstance(error, SlowBodyError):
                await receive.drop_rest(self.hot.max_body * DISCARD_FACTOR)
            self._runtime.tally.refuse(error.code, counted_as(path, scope["method"]))
            await refuse(
                responder,
                error,
                headers,
                node_id=self._runtime.node_id,
                cors=cors,
                dialect=dialect_of(path),
            )
            return
        rest = await self._loaded()
        own = own_headers(headers, self._runtime.node_id)
        await rest(
            {**scope, "path": path, "raw_path": path.encode(), REQUEST_ID: own[0][1].decode()},
            receive,
            _with_headers(send, [*own, *cors, *id_headers(dialect_of(path), own[0][1])]),
        )

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, path = wire_headers.joined(scope["headers"]), canonical(scope["path"])
        try:
            self._gate.check(headers, own_page=is_own_page(path, "GET"))
            self._gate.check_management(headers)
        except NexusError as error:
            await refuse_websocket(send, error)
            return
        await (await self._loaded())({**scope, "path": path}, receive, send)

    async def _answered(
        self,
        path: str,
        scope: Scope,
        headers: dict[bytes, bytes],
        receive: Receive,
        responder: AsgiResponder,
    ) -> bool:
        """Answer what needs no Quart. False: somebody else's route. Raises `NexusError`."""
        method = scope["method"]
        if method == "OPTIONS":
            preflight = [*self._gate.cors(headers), *self._gate.preflight(headers)]
            await responder.respond(204, preflight, b"")
            return True
        if endpoint := HOT.get(path):
            _require(method, path, "POST")
            await self.hot.serve_asgi(endpoint, scope, headers, receive, responder)
            return True
        if health.wants_page(path, headers) and method in ("GET", "HEAD"):
            return False
        if answer := health.ANSWERS.get(path):
            _require(method, path, "GET", "HEAD")
            status, value = await answer(self._runtime)
            body, kind = msgspec.json.encode(value), b"application/json"
            if health.wants_greeting(path, headers):
                body, kind = health.GREETING, b"text/plain; charset=utf-8"
            more = [(b"content-type", kind), *self._gate.cors(headers)]
            own = own_headers(headers, self._runtime.node_id)
            await responder.respond(status, [*own, *more], body)
            return True
        return False

    async def _loaded(self) -> App:
        if self._rest is None:
            self._rest = spawn(self._load(), name="load management routes")
        return await asyncio.shield(self._rest)

    async def _load(self) -> App:
        module = await asyncio.to_thread(importlib.import_module, "nexus_proxy.api.app")
        app: App = module.create_app(self._runtime, loopback=self._loopback)
        return app


def _require(method: str, path: str, *allowed: str) -> None:
    if method not in allowed:
        takes = " and ".join(allowed)
        raise MethodNotAllowedError(f"{path} takes {takes}, not {method[:20]}", allow=allowed)


def _with_headers(send: Send, more: HeaderList) -> Send:
    async def sending(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending
