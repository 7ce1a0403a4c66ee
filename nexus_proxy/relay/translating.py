"""A request in another dialect, put into chat before anything else looks at it."""

from __future__ import annotations

import msgspec

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.base import Asked, Dialect
from nexus_proxy.relay.call import Call
from nexus_proxy.routing.types import BYTES_PER_TOKEN


def translate(call: Call, dialect: Dialect) -> None:
    """Replace the body of `call` by its translation. Raises `InvalidRequestError`."""
    body = openai.decode_object(call.body)
    chat, notes = dialect.to_chat(body)
    record = call.record
    record.notes = notes
    call.asked = Asked(record.id, str(body.get("model")), int(record.started), 0, body)
    call.body, call.endpoint = msgspec.json.encode(chat), dialect.target(body)


def complete(call: Call) -> None:
    """Tell the answer what was seen of the translated request."""
    assert call.asked is not None, "only of a request that was translated"
    tokens = call.peek.prompt_bytes // BYTES_PER_TOKEN
    call.asked = msgspec.structs.replace(call.asked, prompt_tokens=tokens)
