"""Anthropic's events as chat's chunks.

Nothing is told as finished before `message_stop`: a stream that breaks off before it has no finish
reason. What Anthropic counts comes as the usage chunk before `[DONE]`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.chat_pieces import Room
from nexus_proxy.dialects.claude_thinking import opaque
from nexus_proxy.dialects.claude_usage import Counted, counted
from nexus_proxy.dialects.openai import ABSENT
from nexus_proxy.dialects.sse import DONE, EventSplitter, payload
from nexus_proxy.dialects.tongue import Named, usage_fields

STOPS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""Why an answer ended, in chat's words."""
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "overloaded_error": 503,
    "timeout_error": 504,
}
"""Types of errors, and the status that each has in chat."""


class _Block(Struct):
    type: str = ""
    text: str = ""
    id: str = ""
    name: str = ""
    data: str = ""
    input: Raw = ABSENT


class _Delta(Struct):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None


class _Message(Struct):
    id: str = ""
    usage: Raw = ABSENT


class _Error(Struct):
    type: str = "api_error"
    message: str = "no reason given"


class _Event(Struct):
    type: str
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: Raw = ABSENT
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Event).decode
_encode = msgspec.json.encode


class ClaudeEar:
    """See `Ear`. Keeps the thinking of the block that is open, and no other text."""

    def __init__(self, named: Named) -> None:
        self.beat = False
        self._named = named
        self._splitter, self._room = EventSplitter(), Room()
        self._counted = Counted()
        self._block = _Block()
        self._thought: list[str] = []
        self._signature: list[str] = []
        self._calls = -1
        self._has_arguments = False
        self._stop: str | None = None
        self._frame("")
        self._do: dict[str, Callable[[_Event], bytes]] = {
            "message_start": self._start,
            "content_block_start": self._open,
            "content_block_delta": self._add,
            "content_block_stop": self._close,
            "message_delta": self._delta,
            "message_stop": self._end,
            "error": self._fail,
            "ping": self._ping,
        }

    @property
    def pending(self) -> int:
        """See `Ear`."""
        return self._splitter.pending

    def feed(self, data: bytes) -> bytes:
        """See `Ear.feed`."""
        self.beat = False
        out = []
        for event in self._splitter.feed(data):
            if (told := payload(event)) is not None:
                read = _decode(told)
                # Types that are not known yet are passed over, as Anthropic asks of its clients.
                if (do := self._do.get(read.type)) is not None:
                    out.append(do(read))
        return b"".join(out)

    def _start(self, event: _Event) -> bytes:
        if event.message is not None:
            self._frame(event.message.id)
            self._count(event.message.usage)
        return self._chunk({"role": "assistant", "content": ""})

    def _open(self, event: _Event) -> bytes:
        self.beat = True
        self._block = block = event.content_block or _Block()
        self._thought.clear()
        self._signature.clear()
        if block.type == "tool_use":
            self._calls += 1
            self._has_arguments = False
            function = {"name": block.name, "arguments": ""}
            call = {"index": self._calls, "id": block.id, "type": "function", "function": function}
            return self._chunk({"tool_calls": [call]})
        return self._text(b"content", block.text) if block.type == "text" and block.text else b""

    def _add(self, event: _Event) -> bytes:
        delta = event.delta or _Delta()
        match delta.type:
            case "text_delta":
                return self._text(b"content", delta.text)
            case "input_json_delta" if delta.partial_json and self._block.type == "tool_use":
                return self._arguments(delta.partial_json)
            case "thinking_delta":
                self._room.take(len(delta.thinking))
                self._thought.append(delta.thinking)
                return self._text(b"reasoning_content", delta.thinking)
            case "signature_delta":
                self._room.take(len(delta.signature))
                self._signature.append(delta.signature)
        return b""

    def _close(self, _event: _Event) -> bytes:
        block, self._block = self._block, _Block()
        kept: Json = {"type": block.type, "data": block.data}
        if block.type == "thinking":
            kept |= {"thinking": "".join(self._thought), "signature": "".join(self._signature)}
        if line := opaque(kept):
            return self._chunk({"reasoning_opaque": line})
        if block.type == "tool_use" and not self._has_arguments:
            # A call without arguments comes as an empty piece, or as none.
            return self._arguments(bytes(block.input or b"{}").decode())
        return b""

    def _delta(self, event: _Event) -> bytes:
        self._count(event.usage)
        if event.delta is not None:
            self._stop = event.delta.stop_reason or self._stop
        return b""

    def _end(self, _event: _Event) -> bytes:
        plain = "tool_calls" if self._calls >= 0 else "stop"
        out = self._chunk({}, STOPS.get(self._stop or "", plain))
        if (usage := self._counted.usage()) is not None:
            out += self._top({"choices": [], **usage_fields(usage)})
        return out + b"data: " + DONE + b"\n\n"

    def _fail(self, event: _Event) -> bytes:
        error = event.error or _Error()
        told = {
            "message": error.message,
            "type": error.type,
            "param": None,
            "code": STATUSES.get(error.type, 500),
        }
        return b"data: " + _encode({"error": told}) + b"\n\n"

    def _ping(self, _event: _Event) -> bytes:
        self.beat = True
        return b""

    def _count(self, usage: Raw) -> None:
        if (told := counted(usage)) is not None:
            self._counted.update(told)

    def _arguments(self, piece: str) -> bytes:
        self._has_arguments = True
        return self._chunk(
            {"tool_calls": [{"index": self._calls, "function": {"arguments": piece}}]}
        )

    def _frame(self, id_: str) -> None:
        """What is the same in each chunk."""
        top = {
            "id": f"chatcmpl-{id_}",
            "object": "chat.completion.chunk",
            "created": self._named.created,
            "model": self._named.model,
        }
        self._head = b"data: " + _encode(top)[:-1] + b","
        self._before = self._head + b'"choices":[{"index":0,"delta":'

    def _text(self, key: bytes, text: str) -> bytes:
        return b'%b{"%b":%b},"finish_reason":null}]}\n\n' % (self._before, key, _encode(text))

    def _chunk(self, delta: Json, finish: str | None = None) -> bytes:
        return b'%b%b,"finish_reason":%b}]}\n\n' % (self._before, _encode(delta), _encode(finish))

    def _top(self, fields: Json) -> bytes:
        return self._head + _encode(fields)[1:] + b"\n\n"
