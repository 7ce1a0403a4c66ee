"""Answers of chat for the tests of what is made of them: whole, and cut into chunks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from hypothesis import strategies as st

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.base import Dialect, Json
from nexus_proxy.dialects.openai import RequestPeek

USAGE: Json = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 16},
    "completion_tokens_details": {"reasoning_tokens": 3},
}

TEXT = st.text(min_size=1, max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def peek(dialect: Dialect, body: Json) -> RequestPeek:
    """What routing sees of a request once it is translated."""
    told = dialect.to_chat(body)
    return openai.peek(told.endpoint, msgspec.json.encode(told.body))


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more}


def usage_chunk(usage: Json = USAGE) -> Json:
    return {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": usage}


def call_piece(index: int | None, arguments: str, **named: Any) -> Json:
    place = {} if index is None else {"index": index}
    id_ = {"id": named["id"], "type": "function"} if "id" in named else {}
    name = {"name": named["name"]} if "name" in named else {}
    return {**place, **id_, "function": {**name, "arguments": arguments}}


def calls(*pieces: Json) -> Json:
    return chunk({"tool_calls": list(pieces)})


@st.composite
def cut(draw: st.DrawFn, text: str) -> list[str]:
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def answers(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """A whole answer, and a stream of the same."""
    thought, text = draw(st.none() | TEXT), draw(st.none() | TEXT)
    arguments = draw(st.lists(st.sampled_from(["{}", '{"city":"Paris"}', '{"a":[1,"é"]}'])))
    finish = draw(st.sampled_from(["stop", "length"])) if not arguments else "tool_calls"
    message: Json = {"role": "assistant", "content": text}
    chunks = [chunk({"role": "assistant", "content": ""})]
    for key, value in (("reasoning_content", thought), ("content", text)):
        if value is not None:
            message[key] = value
            chunks += [chunk({key: piece}) for piece in draw(cut(value))]
    if arguments:
        message["tool_calls"] = [
            {"id": f"id_{n}", "type": "function", "function": {"name": f"f{n}", "arguments": told}}
            for n, told in enumerate(arguments)
        ]
        chunks += _interleaved(draw, arguments)
    chunks += [chunk(finish=finish), usage_chunk()]
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"choices": [choice], "usage": USAGE}, chunks


def _interleaved(draw: st.DrawFn, arguments: Iterable[str]) -> list[Json]:
    """Pieces of parallel calls, which may come in turn."""
    heads, queues = [], []
    for n, told in enumerate(arguments):
        heads.append(calls(call_piece(n, "", id=f"id_{n}", name=f"f{n}")))
        queues.append([calls(call_piece(n, piece)) for piece in draw(cut(told))])
    chunks = heads
    while any(queues):
        queue = draw(st.sampled_from([q for q in queues if q]))
        chunks.append(queue.pop(0))
    return chunks
