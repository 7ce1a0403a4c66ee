"""What is said in a request, for its line in the log where content logging is on.

Kept until that line is written, and nowhere else: not in the history, in no metric, trace or file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nexus_proxy.dialects.openai import UNREADABLE, RequestPeek, as_object
from nexus_proxy.dialects.openai_stream import decode_chunk
from nexus_proxy.telemetry.history import Said

MOST = 4000
"""Characters of a prompt, its last ones, and of an answer, its first."""
_TEXTS = (
    *("reasoning_content", "reasoning", "thinking", "content", "refusal", "text"),
    *("name", "arguments", "partial_json"),
)


class Heard:
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
            try:
                self._add(decode_chunk(event) or {})
            except (*UNREADABLE, AttributeError, TypeError):
                continue  # the relay says what is wrong with it

    def whole(self, body: bytes) -> None:
        """An answer that is no stream."""
        self._add(as_object(body) or {})

    def said(self, peek: RequestPeek, body: bytes) -> Said:
        """The request and what was heard, cut to what a line may hold."""
        prompt = b"\n".join(peek.messages) or body
        asked = prompt[-4 * MOST :].decode(errors="replace")[-MOST:]  # a character is 4 bytes long
        is_cut = len(asked.encode()) < len(prompt)
        answer = "".join(self._parts)
        return Said(
            prompt=f"…{asked}" if is_cut else asked,
            answer=f"{answer[:MOST]}…" if len(answer) > MOST else answer,
        )

    def _add(self, chunk: dict[str, Any]) -> None:
        for piece in _pieces(chunk):
            for text in _texts(piece):
                self._parts.append(text)
                self._size += len(text)


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
