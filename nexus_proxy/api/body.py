"""ASGI middleware: the whole body is read before anything is answered.

A client that writes before it reads would else see a reset connection in place of the 404 or 413
that it was sent. The limit is the one of the hot routes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from nexus_proxy.api.asgi import AsgiResponder, Receive, Scope, Send
from nexus_proxy.api.front import App
from nexus_proxy.api.hot import ClientLeft, read_body
from nexus_proxy.dialects import openai
from nexus_proxy.errors import NexusError, RequestError
from nexus_proxy.runtime import Runtime

BODY_SECONDS = 60.0


class SlowBodyError(RequestError):
    """The client took too long to send its request."""

    status = 408
    code = "request_timeout"


class BodyFirst:
    """Wraps `app`, which gets each body in one piece, decompressed."""

    def __init__(self, app: App, runtime: Runtime) -> None:
        self._app = app
        self._runtime = runtime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
        except ClientLeft:
            return
        except NexusError as error:
            head = [(b"content-type", b"application/json")]
            await AsgiResponder(send, extra=[]).respond(
                error.status, head, openai.error_body(error)
            )
            return
        await self._app(scope, _replaying(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        limit = int(self._runtime.config.server.max_body_mb * 1024 * 1024)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await read_body(receive, dict(scope["headers"]), limit)
        except TimeoutError:
            raise SlowBodyError(
                f"the body did not arrive within {BODY_SECONDS:g} seconds; send it again"
            ) from None


def _replaying(body: bytes, receive: Receive) -> Receive:
    """`body` as the first message, then whatever comes (that the client left)."""
    pending: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> dict[str, Any]:
        return pending.pop() if pending else await receive()

    return replay
