"""A request in another dialect, put into chat before anything else looks at it."""

from __future__ import annotations

import msgspec

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.anthropic import without_billing
from nexus_proxy.dialects.base import Asked, Dialect
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.relay.call import Call
from nexus_proxy.routing.types import BYTES_PER_TOKEN


def translate(call: Call, dialect: Dialect, *, stabilise: bool) -> None:
    """Replace the body of `call` by its translation, and look at that. `stabilise`: without what
    differs in each request and says nothing to a model. Raises `InvalidRequestError`."""
    body, note = openai.decode_object(call.body), None
    if stabilise and call.endpoint is Endpoint.MESSAGES:
        body, note = without_billing(body)
    translated = dialect.to_chat(body)
    call.record.notes = translated.notes if note is None else (note, *translated.notes)
    call.body, call.endpoint = msgspec.json.encode(translated.body), translated.endpoint
    call.peek = openai.peek(call.endpoint, call.body)
    call.asked = Asked(
        id=call.record.id,
        model=str(body.get("model")),
        created=int(call.record.started),
        prompt_tokens=call.peek.prompt_bytes // BYTES_PER_TOKEN,
        kept=translated.kept,
    )
