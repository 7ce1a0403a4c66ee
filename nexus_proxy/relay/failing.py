"""Telling a client that its request failed: as an answer, or as the end of a stream."""

from __future__ import annotations

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import NexusError, UpstreamStatusError
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.responder import Responder
from nexus_proxy.telemetry.history import Record


async def tell_failure(
    error: NexusError,
    responder: Responder,
    record: Record,
    *,
    endpoint: Endpoint,
    headers: wire_headers.HeaderList,
    told: bool,
) -> None:
    """Answer with `error`, in the dialect's form. `told`: the backend's own event did already."""
    status = error.upstream_status if isinstance(error, UpstreamStatusError) else error.status
    record.status = status
    if responder.started:
        if not told:
            await _end_stream(error, responder, record, endpoint)
        return
    if isinstance(error, UpstreamStatusError):
        body = openai.upstream_error_body(error)
        kept = [h for h in wire_headers.returned(error.headers) if h[0] != b"content-type"]
    else:
        body, kept = openai.error_body(error), wire_headers.refusal(error)
    json_type = (b"content-type", b"application/json")
    await responder.respond(status, [*headers, *kept, json_type], body)


async def _end_stream(
    error: NexusError, responder: Responder, record: Record, endpoint: Endpoint
) -> None:
    event = openai.stream_error_event(
        error,
        endpoint=endpoint,
        chunk_id=f"chatcmpl-{record.id}",
        model=record.model_asked,
        created=int(record.started),
    )
    await responder.write(event)
    await responder.finish()
