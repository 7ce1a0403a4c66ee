"""Refusing a request before it reached the relay or a route: JSON in the caller's dialect."""

from __future__ import annotations

from nexus_proxy.api.asgi import Send
from nexus_proxy.dialects.base import Dialect
from nexus_proxy.dialects.foreign import error_body, id_headers
from nexus_proxy.errors import MethodNotAllowedError, NexusError
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.responder import HeaderList, Responder


def own_headers(headers: wire_headers.Headers, node_id: str) -> list[tuple[bytes, bytes]]:
    """What every answer of this gateway carries, where the relay has not set it already."""
    return [
        (b"x-request-id", wire_headers.request_id(headers).encode()),
        (wire_headers.NODE, node_id.encode()),
    ]


async def refuse(
    responder: Responder,
    error: NexusError,
    headers: wire_headers.Headers,
    *,
    node_id: str,
    cors: HeaderList,
    dialect: Dialect | None = None,
) -> None:
    """Answer with `error`. `headers` are the request's; `cors` lets a page read the answer;
    `dialect` is the caller's, where it is not OpenAI's."""
    own = own_headers(headers, node_id)
    more = [(b"content-type", b"application/json"), *wire_headers.refusal(error), *cors]
    if isinstance(error, MethodNotAllowedError):
        more.append((b"allow", ", ".join(error.allow).encode()))
    _, request_id = own[0]
    answer = error_body(error, dialect, request_id.decode())
    more += id_headers(dialect, request_id)
    await responder.respond(error.status, [*own, *more], answer)


async def refuse_websocket(send: Send, error: NexusError) -> None:
    """Answer a handshake with `error` in place of the switch of protocols."""
    body = error_body(error, None, "")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send(
        {"type": "websocket.http.response.start", "status": error.status, "headers": headers}
    )
    await send({"type": "websocket.http.response.body", "body": body, "more_body": False})
