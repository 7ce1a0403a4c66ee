"""The hot routes over ASGI: read the body once, hand it to the relay, watch the client."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from nexus_proxy.api.asgi import AsgiResponder, Receive, Scope
from nexus_proxy.dialects import openai
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import (
    BodyTooLargeError,
    GatewayStoppingError,
    NexusError,
    UnsupportedMediaTypeError,
)
from nexus_proxy.relay.call import Inbound
from nexus_proxy.runtime import Runtime
from nexus_proxy.tasks import spawn

DISCARD_FACTOR = 4
"""A body over the limit is read and thrown away up to this many times the limit, so that a client
that writes before it reads gets the 413 instead of a broken pipe."""
JSON_TYPES = ("application/json", "text/json", "text/plain", "")
"""Content types taken for JSON: what curl and old clients send by mistake is let through, except
a form, which is what a hostile page can send without a preflight."""


class ClientLeft(Exception):
    """The client closed its connection before the request was whole."""


async def serve_hot(
    runtime: Runtime,
    endpoint: Endpoint,
    scope: Scope,
    headers: dict[bytes, bytes],
    receive: Receive,
    responder: AsgiResponder,
) -> None:
    """Answer one hot request. Raises `NexusError` for what is wrong with it before routing."""
    if runtime.draining:
        raise GatewayStoppingError("this gateway is stopping and takes no new requests")
    _check_content_type(headers)
    limit = int(runtime.config.server.max_body_mb * 1024 * 1024)
    try:
        body = await read_body(receive, headers, limit)
    except ClientLeft:
        return
    client = scope.get("client") or ("?", 0)
    inbound = Inbound(endpoint=endpoint, headers=headers, body=body, client=str(client[0]))
    await _race(runtime, inbound, receive, responder)


async def _race(
    runtime: Runtime, inbound: Inbound, receive: Receive, responder: AsgiResponder
) -> None:
    """Serve until done or until the client leaves, which cancels the serving."""
    serving = spawn(runtime.relay.serve(inbound, responder), name="request")
    leaving = spawn(_until_gone(receive), name="watch client")
    try:
        await asyncio.wait({serving, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        serving.cancel()
        leaving.cancel()
    await asyncio.wait({serving})
    if not serving.cancelled() and serving.exception() is not None and not responder.started:
        error = NexusError("the gateway failed on this request; its log says why")
        await responder.respond(
            500, [(b"content-type", b"application/json")], openai.error_body(error)
        )


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def read_body(receive: Receive, headers: dict[bytes, bytes], limit: int) -> bytes:
    """The whole body, decompressed, at most `limit` bytes.

    Raises `BodyTooLargeError`, `UnsupportedMediaTypeError` or `ClientLeft`.
    """
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message: dict[str, Any] = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            parts.append(chunk)
        elif size > limit * DISCARD_FACTOR:
            break
        more = message.get("more_body", False)
    if size > limit:
        raise BodyTooLargeError(
            f"the body is larger than {limit / 2**20:g} MiB (server.max_body_mb)"
        )
    return _decoded(b"".join(parts), headers.get(b"content-encoding", b"").lower(), limit)


def _decoded(body: bytes, encoding: bytes, limit: int) -> bytes:
    if encoding in (b"", b"identity"):
        return body
    if encoding not in (b"gzip", b"deflate"):
        raise UnsupportedMediaTypeError(
            f"Content-Encoding {encoding.decode('latin-1')[:40]} is not taken; send gzip, deflate "
            "or no encoding"
        )
    inflater = zlib.decompressobj(wbits=47 if encoding == b"gzip" else zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise UnsupportedMediaTypeError(f"the body is not {encoding.decode()}: {error}") from None
    if len(plain) > limit:
        raise BodyTooLargeError(f"the body inflates to more than {limit / 2**20:g} MiB")
    return plain


def _check_content_type(headers: dict[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"").decode("latin-1")
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in JSON_TYPES and not kind.endswith("+json"):
        raise UnsupportedMediaTypeError(
            f"Content-Type {kind[:80]!r} is not taken here; send application/json"
        )
