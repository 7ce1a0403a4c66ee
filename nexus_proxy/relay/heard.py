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
_TEXTS = ("reasoning_content", "reasoning", "content", "refusal", "text")


class Heard:
    """Collects one answer as it passes, in OpenAI's form, as the backend gave it."""

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
        for choice in chunk.get("choices") or ():
            for text in _texts(choice):
                self._parts.append(text)
                self._size += len(text)


def _texts(choice: dict[str, Any]) -> Iterator[str]:
    message = choice.get("delta") or choice.get("message") or choice
    for name in _TEXTS:
        if isinstance(text := message.get(name), str):
            yield text
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield f"{function.get('name') or ''}{function.get('arguments') or ''}"
