"""What is said in a request, for its line in the log where content logging is on.

Kept until that line is written, and nowhere else: not in the history, in no metric, trace or file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.openai import ABSENT, UNREADABLE, as_object
from nexus_proxy.dialects.sse import payload
from nexus_proxy.telemetry.history import Said

MOST = 4000
"""Characters of a prompt, its last ones, and of an answer, its first."""


class _Asked(Struct):
    messages: Raw = ABSENT
    prompt: Raw = ABSENT
    input: Raw = ABSENT


_decode = msgspec.json.Decoder(_Asked).decode
_TEXTS = (
    *("reasoning_content", "reasoning", "thinking", "content", "refusal", "text"),
    *("name", "arguments", "partial_json"),
)


class ContentLog:
    """Collects one answer as it passes, as the backend gave it: in chat's form or in that of a
    dialect that is passed on as it is."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._size = 0

    def again(self) -> None:
        """Another try begins: of the last one nothing has reached the client."""
        self._parts, self._size = [], 0

    def events(self, events: Sequence[bytes]) -> None:
        """Whole events of a stream."""
        for event in events:
            if self._size > MOST:
                return
            self._add(payload(event) or b"")

    def whole(self, body: bytes) -> None:
        """An answer that is no stream."""
        self._add(body)

    def said(self, body: bytes) -> Said:
        """The request and what was heard, cut to what a line may hold."""
        prompt = _prompt_of(body)
        asked = prompt[-4 * MOST :].decode(errors="replace")[-MOST:]  # a character is 4 bytes long
        is_cut = len(asked.encode()) < len(prompt)
        answer = "".join(self._parts)
        return Said(
            prompt=f"…{asked}" if is_cut else asked,
            answer=f"{answer[:MOST]}…" if len(answer) > MOST else answer,
        )

    def _add(self, data: bytes) -> None:
        try:
            texts = [text for piece in _pieces(as_object(data) or {}) for text in _texts(piece)]
        except (AttributeError, TypeError):
            return  # of no known shape: the relay says so, if it minds
        self._parts += texts
        self._size += sum(map(len, texts))


def _prompt_of(body: bytes) -> bytes:
    """Messages, prompt or input of a request, as JSON; what cannot be read, as it is."""
    try:
        asked = _decode(body)
    except UNREADABLE:
        return body
    return bytes(asked.messages or asked.prompt or asked.input or body)


def _pieces(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What says something in a chunk or an answer: of chat, of Messages, of Responses."""
    match told:
        case {"choices": [*choices]}:
            for choice in choices:
                yield choice.get("delta") or choice.get("message") or choice
        case {"delta": dict(piece)} | {"content_block": dict(piece)}:
            yield piece
        case {"delta": str(text)}:
            yield {"text": text}
        case {"type": "message", "content": [*blocks]}:
            yield from blocks
        case {"object": "response", "output": [*items]}:
            for item in items:
                yield item
                yield from item.get("content") or ()


def _texts(piece: dict[str, Any]) -> Iterator[str]:
    for name in _TEXTS:
        if isinstance(text := piece.get(name), str):
            yield text
    for call in piece.get("tool_calls") or ():
        function = call.get("function") or {}
        yield f"{function.get('name') or ''}{function.get('arguments') or ''}"
    if piece.get("type") == "tool_use" and piece.get("input"):
        yield str(piece["input"])
