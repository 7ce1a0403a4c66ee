"""WebSockets: there is none in this version, and who asks for one is told so as for any route."""

from __future__ import annotations

from nexus_proxy.api.asgi import Scope, Send
from nexus_proxy.dialects import openai
from nexus_proxy.errors import UnknownRouteError


async def refuse(scope: Scope, send: Send) -> None:
    """Answer the handshake with 404 in place of the switch of protocols."""
    error = UnknownRouteError(
        f"{scope['path'][:200]}: this version serves no WebSocket yet; "
        "GET /nexus/v1/events streams what happens"
    )
    body = openai.error_body(error)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send(
        {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
