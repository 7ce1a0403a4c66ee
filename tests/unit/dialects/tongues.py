"""What the tests of the dialects that backends speak have in common."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.openai_stream import Aggregator
from nexus_proxy.dialects.sse import EventSplitter
from nexus_proxy.dialects.tongue import Named, Tongue
from tests.unit.dialects.chat_streams import JSON, TEXT

NAMED = Named(model="m", created=5)
HELLO: list[Json] = [{"role": "user", "content": "hi"}]
LOOK: Json = {"type": "function", "function": {"name": "look", "parameters": {"properties": {}}}}
SAID = TEXT.filter(str.strip)
ARGUMENTS = st.dictionaries(TEXT, JSON, max_size=3)


def heard(tongue: Tongue, *pieces: bytes) -> list[bytes]:
    """The events of chat for one stream, in pieces."""
    ear = tongue.ear(NAMED)
    events = EventSplitter().feed(b"".join(ear.feed(piece) for piece in pieces))
    assert ear.pending == 0
    return events


def aggregated(events: list[bytes]) -> Json:
    """What a stream of chat says as a whole."""
    aggregator = Aggregator(Endpoint.CHAT)
    for event in events:
        aggregator.add(event)
    answer: Json = json.loads(aggregator.answer())
    return answer


def essence(answer: Json) -> Any:
    """What an answer of chat says, without how it names its calls."""
    (choice,) = answer["choices"]
    message = choice["message"]
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    counts = (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
    thought = message.get("reasoning_content")
    return message.get("content") or "", thought, calls, choice["finish_reason"], counts
