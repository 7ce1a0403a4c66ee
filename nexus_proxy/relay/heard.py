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
            texts = [t for c in (as_object(data) or {}).get("choices") or () for t in _texts(c)]
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


def _texts(choice: dict[str, Any]) -> Iterator[str]:
    message = choice.get("delta") or choice.get("message") or choice
    for name in _TEXTS:
        if isinstance(text := message.get(name), str):
            yield text
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        yield f"{function.get('name') or ''}{function.get('arguments') or ''}"
