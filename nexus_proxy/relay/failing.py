"""Telling a client that its request failed: as an answer, or as the end of a stream."""

from __future__ import annotations

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.foreign import error_body
from nexus_proxy.errors import NexusError, UpstreamStatusError
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.call import Call


async def tell_failure(error: NexusError, call: Call) -> None:
    """Answer with `error`, in the dialect's form, unless the backend's own event did already."""
    status = error.upstream_status if isinstance(error, UpstreamStatusError) else error.status
    call.record.status = status
    if call.responder.started:
        if not call.told:
            await _end_stream(error, call)
        return
    if isinstance(error, UpstreamStatusError):
        kept = wire_headers.returned(error.headers)
    else:
        kept = wire_headers.refusal(error)
    if isinstance(error, UpstreamStatusError) and error.is_native:
        body = error.body
    else:
        body = error_body(error, call.envelope.dialect, call.record.id)
    json_type = (b"content-type", b"application/json")
    await call.responder.respond(status, call.headers(*kept, json_type), body)


async def _end_stream(error: NexusError, call: Call) -> None:
    record, dialect = call.record, call.envelope.dialect
    if dialect is not None and call.asked is not None:
        voice = call.voice or dialect.stream(call.asked)
        await call.write_all(b"".join(voice.error(error)))
        await call.responder.finish()
        return
    event = openai.stream_error_event(
        error,
        endpoint=call.envelope.endpoint,
        chunk_id=f"chatcmpl-{record.id}",
        model=record.model_asked,
        created=int(record.started),
    )
    await call.write_all(event)
    await call.responder.finish()
