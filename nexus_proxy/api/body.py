"""ASGI middleware: the whole body is read before anything is answered.

A client that writes before it reads would else see a reset connection in place of the 404 or 413
that it was sent. The limit is the one of the hot routes.
"""

from __future__ import annotations

from typing import Any

from nexus_proxy.api.asgi import AsgiResponder, ClientLeft, Receive, Scope, Send
from nexus_proxy.api.front import App
from nexus_proxy.api.hot import body_limit, decoded, read_body
from nexus_proxy.api.paths import REQUEST_ID, counted_as, dialect_of
from nexus_proxy.dialects.foreign import error_body
from nexus_proxy.errors import NexusError
from nexus_proxy.runtime import Runtime


class BodyFirst:
    """Wraps `app`, for HTTP only; it gets each body in one piece, decompressed."""

    def __init__(self, app: App, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        limit = body_limit(self._runtime)
        try:
            body = await read_body(receive, limit)
            encoding = dict(scope["headers"]).get(b"content-encoding", b"").lower()
            body = decoded(body, encoding, limit)
        except ClientLeft:
            return
        except NexusError as error:
            head = [(b"content-type", b"application/json")]
            request_id = str(scope.get(REQUEST_ID, ""))
            self._runtime.tally.refuse(error.code, counted_as(scope["path"], scope["method"]))
            told = error_body(error, dialect_of(scope["path"]), request_id)
            await AsgiResponder(send).respond(error.status, head, told)
            return
        await self._app(scope, _replaying(body, receive), send)


def _replaying(body: bytes, receive: Receive) -> Receive:
    """`body` as the first message, then whatever comes (that the client left)."""
    pending: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return replay
