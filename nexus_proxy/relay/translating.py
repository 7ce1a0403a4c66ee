"""A request in another dialect, put into chat before anything else looks at it."""

from __future__ import annotations

import msgspec

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.anthropic import without_billing
from nexus_proxy.dialects.base import Asked, Dialect, Json
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.responses import Responses
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.relay.call import Call
from nexus_proxy.routing.types import BYTES_PER_TOKEN


def translate(call: Call, dialect: Dialect, *, may_go_as_it_is: bool, stabilise: bool) -> None:
    """Replace the body of `call` by its translation, and look at that. What has no translation
    stays as it is, if there is somebody who takes it so. `stabilise`: the translation is without
    what differs in each request and says nothing to a model. Raises `InvalidRequestError`."""
    body, note = openai.decode_object(call.body), None
    key = call.envelope.key
    owner = "" if key is None else key.name
    if isinstance(dialect, Responses) and (whole := dialect.recalled(body, owner)) is not body:
        body, call.body = whole, msgspec.json.encode(whole)
    if stabilise and call.endpoint is Endpoint.MESSAGES:
        body, note = without_billing(body)
    kept, call.original = None, call.body
    try:
        translated = dialect.to_chat(body)
    except InvalidRequestError as error:
        if not may_go_as_it_is:
            raise
        call.untranslatable = error
        call.peek = openai.peek(openai.Endpoint.CHAT, outline(body, call.body))
        call.endpoint = openai.Endpoint.CHAT
    else:
        notes = translated.notes if note is None else (note, *translated.notes)
        call.record.notes = call.notes = notes
        call.body, kept = msgspec.json.encode(translated.body), translated.kept
        call.endpoint = translated.endpoint
        call.peek = openai.peek(call.endpoint, call.body)
    call.asked = Asked(
        id=call.record.id,
        model=str(body.get("model")),
        created=int(call.record.started),
        prompt_tokens=call.peek.prompt_bytes // BYTES_PER_TOKEN,
        kept=kept,
        owner=owner,
    )


def outline(body: Json, encoded: bytes) -> bytes:
    """What routing must know of a request that only some backends understand, as a chat."""
    return msgspec.json.encode(
        {
            "model": body.get("model"),
            "stream": body.get("stream") is True,
            "max_tokens": body.get("max_tokens") or body.get("max_output_tokens"),
            "messages": [{"content": msgspec.Raw(encoded)}],
        }
    )
