"""A request in another dialect, put into chat before anything else looks at it."""

from __future__ import annotations

import msgspec

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.base import Asked, Dialect
from nexus_proxy.relay.call import Call
from nexus_proxy.routing.types import BYTES_PER_TOKEN


def translate(call: Call, dialect: Dialect) -> None:
    """Replace the body of `call` by its translation, and look at that. Raises
    `InvalidRequestError`."""
    body = openai.decode_object(call.body)
    translated = dialect.to_chat(body)
    call.record.notes = call.notes = translated.notes
    call.original, call.body = call.body, msgspec.json.encode(translated.body)
    call.endpoint = translated.endpoint
    call.peek = openai.peek(call.endpoint, call.body)
    call.asked = Asked(
        id=call.record.id,
        model=str(body.get("model")),
        created=int(call.record.started),
        prompt_tokens=call.peek.prompt_bytes // BYTES_PER_TOKEN,
        kept=translated.kept,
    )
