"""Anthropic's Messages as its own servers speak them: chat is put into them, answers come back.

The other way round, for clients that speak Messages, is `anthropic`. What becomes of a request is
told in `claude_request`.

Of an answer: thinking is `reasoning_content`, with what Anthropic needs to have it back in
`reasoning_opaque` (see `claude_thinking`). A tool call keeps its id. Why it ended is said in chat's
words: a context that is full is `length`, a refusal `content_filter`. Text in several blocks is
joined as it is. Blocks of Anthropic's own tools cannot come, since none are asked for; citations
and other blocks are left out.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.claude_request import say
from nexus_proxy.dialects.claude_stream import STATUSES, STOPS, ClaudeEar
from nexus_proxy.dialects.claude_thinking import opaque
from nexus_proxy.dialects.claude_usage import counted
from nexus_proxy.dialects.openai import as_object, error_sentence, overflow_body
from nexus_proxy.dialects.tongue import Failed, Named, Said, usage_fields
from nexus_proxy.state import ModelInfo

VERSION = "2023-06-01"
"""Under the next one, 2026-10-21, sampling parameters are refused altogether."""
_OVERLOADED = 529
_UNAVAILABLE = 503


class Claude:
    """See `Tongue`."""

    headers = f"anthropic-version: {VERSION}\r\n".encode()
    key_header: str | None = None

    def path(self, model: str, *, streams: bool) -> str:
        """See `Tongue.path`."""
        return "/v1/messages"

    def say(self, chat: Json, model: ModelInfo, room: int | None) -> Said:
        """See `Tongue.say`."""
        return say(chat, model, room)

    def whole(self, body: bytes, named: Named) -> bytes:
        """See `Tongue.whole`."""
        answer = as_object(body) or {}
        if answer.get("type") != "message" or not isinstance(answer.get("content"), list):
            raise ValueError("no message")
        message = _message(answer["content"])
        stop = "tool_calls" if "tool_calls" in message else "stop"
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": STOPS.get(str(answer.get("stop_reason")), stop),
        }
        told = counted(msgspec.Raw(msgspec.json.encode(answer.get("usage"))))
        usage = None if told is None else told.usage()
        return msgspec.json.encode(
            {
                "id": f"chatcmpl-{answer.get('id')}",
                "object": "chat.completion",
                "created": named.created,
                "model": named.model,
                "choices": [choice],
                **usage_fields(usage),
            }
        )

    def ear(self, named: Named) -> ClaudeEar:
        """See `Tongue.ear`."""
        return ClaudeEar(named)

    def failure(self, status: int, body: bytes) -> Failed:
        """See `Tongue.failure`. Chat's clients know 503, not Anthropic's 529."""
        said = error_sentence(body)
        if "prompt is too long" in said:
            return Failed(status=status, body=overflow_body(said))
        kind = _kind(body)
        told = {"message": said or "no reason given", "type": kind, "param": None, "code": kind}
        return Failed(
            status=_UNAVAILABLE if status == _OVERLOADED else status,
            body=msgspec.json.encode({"error": told}),
        )


def _kind(body: bytes) -> str:
    inner = (as_object(body) or {}).get("error")
    kind = inner.get("type") if isinstance(inner, dict) else None
    return kind if kind in STATUSES else "api_error"


def _message(blocks: list[Any]) -> Json:
    texts, thoughts, kept, calls = [], [], [], []
    for block in blocks:
        match block:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "thinking", "thinking": str(thought)}:
                thoughts.append(thought)
                kept.append(opaque(block))
            case {"type": "redacted_thinking"}:
                kept.append(opaque(block))
            case {"type": "tool_use", "id": str(id_), "name": str(name)}:
                arguments = msgspec.json.encode(block.get("input") or {}).decode()
                function = {"name": name, "arguments": arguments}
                calls.append({"id": id_, "type": "function", "function": function})
    message: Json = {"role": "assistant", "content": "".join(texts) or None, "refusal": None}
    if thought := "".join(thoughts):
        message["reasoning_content"] = thought
    if keep := "".join(kept):
        message["reasoning_opaque"] = keep
    if calls:
        message["tool_calls"] = calls
    return message
