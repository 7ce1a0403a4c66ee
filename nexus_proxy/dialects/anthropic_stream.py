"""Chat's chunks as Anthropic's events: one block after the other, each closed before the next.

Chat may send pieces of several tool calls in turn. The first call is passed on as it comes; pieces
of the others are kept until it is whole, which is when the stream ends or text follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from nexus_proxy.dialects.base import Asked, Json
from nexus_proxy.dialects.chat_pieces import Call, Calls, Counts, Details, Room, counts
from nexus_proxy.errors import NexusError

REFUSED = "content_filter"
_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    REFUSED: "refusal",
}


class MessageStream:
    """See `ChatStream`. `tell(error, request_id)` makes the object of an error."""

    def __init__(self, asked: Asked, tell: Callable[[NexusError, str], Json]) -> None:
        self._asked, self._tell = asked, tell
        self._has_started = False
        self._block = -1
        self._kind = ""
        self._calls = Calls(lambda position: f"toolu_{asked.id}_{position}", Room())
        self._closed: set[Call] = set()
        self._open: Call | None = None
        self._choice: Json = {}
        self._refuses = False
        self._usage: Counts | None = None

    def feed(self, chunk: Json) -> list[bytes]:
        """See `ChatStream.feed`."""
        self._usage = counts(chunk) or self._usage
        out = self._start()
        for choice in chunk.get("choices") or ():
            if choice.get("index"):
                continue
            delta = choice.get("delta") or {}
            if thought := delta.get("reasoning_content") or delta.get("reasoning"):
                out += self._text("thinking", "thinking", thought)
            if said := delta.get("content") or delta.get("refusal"):
                out += self._text("text", "text", said)
            for piece in delta.get("tool_calls") or ():
                out += self._tool(piece)
            self._refuses = self._refuses or bool(delta.get("refusal"))
            if choice.get("finish_reason"):
                self._choice = choice
        return out

    def finish(self) -> list[bytes]:
        """See `ChatStream.finish`."""
        out = [*self._start(), *self._close()]
        choice = {**self._choice, "finish_reason": REFUSED} if self._refuses else self._choice
        reason, sequence = stop_of(choice, bool(self._calls.all), self._asked)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        usage = usage_of(self._usage, self._asked.prompt_tokens)
        out.append(_event({"type": "message_delta", "delta": delta, "usage": usage}))
        out.append(_event({"type": "message_stop"}))
        return out

    def error(self, error: NexusError) -> list[bytes]:
        """See `ChatStream.error`. The line `event:` must be there: without it, the SDKs take what
        came so far for the whole answer."""
        return [_event(self._tell(error, self._asked.id))]

    def _start(self) -> list[bytes]:
        if self._has_started:
            return []
        self._has_started = True
        message: Json = {
            "id": f"msg_{self._asked.id}",
            "type": "message",
            "role": "assistant",
            "model": self._asked.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_of(None, self._asked.prompt_tokens),
        }
        return [_event({"type": "message_start", "message": message})]

    def _text(self, kind: str, key: str, text: Any) -> list[bytes]:
        if not isinstance(text, str):
            raise ValueError(f"{kind} that is no text")
        out: list[bytes] = []
        if self._kind != kind:
            block = {"type": kind, key: ""} | ({"signature": ""} if kind == "thinking" else {})
            out = [*self._close(), self._begin(kind, block)]
        return [*out, self._delta({"type": f"{kind}_delta", key: text})]

    def _tool(self, piece: Json) -> list[bytes]:
        call = self._calls.add(piece)
        if call in self._closed:
            if call.take():
                raise ValueError("a tool call went on after it had ended")
            return []
        if self._open is None and call.name:
            return [*self._close_block(), *self._begin_call(call)]
        return self._send_fresh(call) if call is self._open else []

    def _begin_call(self, call: Call) -> list[bytes]:
        self._open = call
        block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        return [self._begin("tool_use", block), *self._send_fresh(call)]

    def _send_fresh(self, call: Call) -> list[bytes]:
        text = call.take()
        return [self._delta({"type": "input_json_delta", "partial_json": text})] if text else []

    def _begin(self, kind: str, block: Json) -> bytes:
        self._kind = kind
        self._block += 1
        content = {"type": "content_block_start", "index": self._block, "content_block": block}
        return _event(content)

    def _delta(self, delta: Json) -> bytes:
        return _event({"type": "content_block_delta", "index": self._block, "delta": delta})

    def _close(self) -> list[bytes]:
        """Close the open block, and send all calls that wait behind it."""
        out = self._close_block()
        for call in self._calls.all:
            if call not in self._closed:
                out += self._begin_call(call)
                out += self._close_block()
        return out

    def _close_block(self) -> list[bytes]:
        if not self._kind:
            return []
        if self._open is not None:
            self._closed.add(self._open)
            self._open = None
        self._kind = ""
        return [_event({"type": "content_block_stop", "index": self._block})]


def stop_of(choice: Json, has_calls: bool, asked: Asked) -> tuple[str, str | None]:
    """Why an answer ended, and at which of the stop sequences. Some backends say `stop` where
    tools are called; vLLM alone tells the sequence (`stop_reason`)."""
    said = choice.get("finish_reason") or "stop"
    sequence = choice.get("stop_reason")
    if has_calls and said == "stop":
        return "tool_use", None
    if said == "stop" and sequence and sequence in (asked.kept or ()):
        return "stop_sequence", sequence
    return _REASONS.get(said, "end_turn"), None


def usage_of(usage: Counts | None, prompt_tokens: int) -> Json:
    """Anthropic's counts: its input leaves out what came from the cache or went there.
    `prompt_tokens`: what is told where the backend counted nothing."""
    told = usage or Counts()
    prompt, completion = told.prompt_tokens_details or Details(), told.completion_tokens_details
    cached, written = prompt.cached_tokens or 0, prompt.cache_write_tokens or 0
    counted = prompt_tokens if told.prompt_tokens is None else told.prompt_tokens
    out: Json = {
        "input_tokens": max(0, counted - cached - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": cached,
        "output_tokens": told.completion_tokens or 0,
    }
    if completion is not None and completion.reasoning_tokens:
        out["output_tokens_details"] = {"thinking_tokens": completion.reasoning_tokens}
    return out


def _event(content: Json) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (content["type"].encode(), msgspec.json.encode(content))
