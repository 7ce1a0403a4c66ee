"""Gemini's answers as chat's: each event of a stream is an answer of its own, with the next parts.

A stream has no last event: it ends after the finish reason of each candidate.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.gemini_signatures import Signatures, signed
from nexus_proxy.dialects.openai_stream import CompletionDetails, PromptDetails, Usage
from nexus_proxy.dialects.sse import EventSplitter, payload
from nexus_proxy.dialects.tongue import Named, usage_fields

STANDARD = "default"
"""The service tier of all answers: no other one is asked for."""
_LENGTH = ("MAX_TOKENS",)
_BLOCKED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR")
_BROKEN = (
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE"),
    *("TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
)
Piece = tuple[int, Json, str | None]
"""Index of the choice, what is new of its message, why it ended."""

_encode = msgspec.json.encode


class Candidates:
    """Reads the answers of one stream, or one whole answer.

    Attributes:
        problem: why there is no answer though there should be one.
    """

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._calls: dict[int, int] = {}
        self.problem: str | None = None

    def read(self, answer: Json) -> list[Piece]:
        """What is new in it. Raises `ValueError`, `TypeError` or `AttributeError` for nonsense."""
        feedback = answer.get("promptFeedback") or {}
        if not answer.get("candidates") and (reason := feedback.get("blockReason")):
            refusal = f"Google blocked the prompt ({reason})"
            return [(0, {"role": "assistant", "refusal": refusal}, "content_filter")]
        pieces: list[Piece] = []
        for candidate in answer.get("candidates") or ():
            self._candidate(candidate, answer.get("responseId"), pieces)
        return pieces

    def _candidate(self, candidate: Json, id_: Any, pieces: list[Piece]) -> None:
        index = int(candidate.get("index") or 0)
        if index not in self._calls:
            self._calls[index] = 0
            pieces.append((index, {"role": "assistant"}, None))
        parts = (candidate.get("content") or {}).get("parts") or ()
        deltas = [self._part(part, index, id_) for part in parts]
        pieces += [(index, delta, None) for delta in deltas if delta is not None]
        if reason := candidate.get("finishReason"):
            if reason in _BROKEN:
                said = candidate.get("finishMessage") or "it called a tool in a way that is none"
                self.problem = f"{said} ({reason})"
            pieces.append((index, {}, self._finish(str(reason), index)))

    def _part(self, part: Json, index: int, id_: Any) -> Json | None:
        if call := part.get("functionCall"):
            position, self._calls[index] = self._calls[index], self._calls[index] + 1
            call_id = str(call.get("id") or f"call_{id_}_{index}_{position}")
            function = {
                "name": str(call.get("name")),
                "arguments": _encode(call.get("args") or {}).decode(),
            }
            told = {"index": position, "id": call_id, "type": "function", "function": function}
            if isinstance(signature := part.get("thoughtSignature"), str):
                self._signatures.note(call_id, signature)
                told |= signed(signature)
            return {"tool_calls": [told]}
        text = part.get("text")
        if not isinstance(text, str) or not text:
            return None
        return {"reasoning_content" if part.get("thought") else "content": text}

    def _finish(self, reason: str, index: int) -> str:
        if reason in _LENGTH:
            return "length"
        if reason in _BLOCKED or reason.startswith("IMAGE_"):
            return "content_filter"
        return "tool_calls" if self._calls[index] else "stop"


class GeminiEar:
    """See `Ear`."""

    def __init__(self, named: Named, signatures: Signatures) -> None:
        self.beat = False
        self._named = named
        self._splitter = EventSplitter()
        self._candidates = Candidates(signatures)
        self._id: Any = None
        self._head = b""

    @property
    def pending(self) -> int:
        """See `Ear`."""
        return self._splitter.pending

    def feed(self, data: bytes) -> bytes:
        """See `Ear.feed`."""
        out: list[bytes] = []
        for event in self._splitter.feed(data):
            if (told := payload(event)) is not None:
                try:
                    out += self._events(msgspec.json.decode(told))
                except (AttributeError, TypeError):
                    raise ValueError("no answer of Gemini's") from None
        return b"".join(out)

    def _events(self, answer: Any) -> list[bytes]:
        answer = answer[0] if isinstance(answer, list) and answer else answer
        if error := answer.get("error"):
            return [_event({"error": failed(error)})]
        if not self._head or answer.get("responseId") != self._id:
            self._frame(answer.get("responseId"))
        out: list[bytes] = []
        is_last = False
        for index, delta, finish in self._candidates.read(answer):
            if finish is not None:
                if (problem := self._candidates.problem) is not None:
                    return [*out, _event({"error": failed({"message": problem, "code": 502})})]
                is_last = True
            told = (self._head, index, _encode(delta), _encode(finish))
            out.append(b'%b"choices":[{"index":%d,"delta":%b,"finish_reason":%b}]}\n\n' % told)
        if is_last and (usage := usage_of(answer.get("usageMetadata"))) is not None:
            told_last = _encode({"choices": [], **usage_fields(usage)})
            out.append(self._head + told_last[1:] + b"\n\n")
        return out

    def _frame(self, id_: Any) -> None:
        """What is the same in each chunk."""
        self._id = id_
        top = {
            "id": f"chatcmpl-{id_}",
            "object": "chat.completion.chunk",
            "created": self._named.created,
            "model": self._named.model,
        }
        self._head = b"data: " + _encode(top)[:-1] + b","


def failed(error: Json) -> Json:
    """One of Google's errors as chat's."""
    kind = str(error.get("status") or "server_error").lower()
    code = error.get("code")
    return {
        "message": str(error.get("message") or "no reason given"),
        "type": kind,
        "param": None,
        "code": code if isinstance(code, int) else kind,
    }


class _Counted(Struct):
    promptTokenCount: int | None = None
    toolUsePromptTokenCount: int = 0
    candidatesTokenCount: int = 0
    thoughtsTokenCount: int = 0
    cachedContentTokenCount: int = 0


def usage_of(told: Any) -> Usage | None:
    """Google's counts as chat's: thoughts are a part of the answer. None where it says nothing."""
    try:
        counted = msgspec.convert(told, _Counted)
    except msgspec.ValidationError:
        return None
    if counted.promptTokenCount is None:
        return None
    prompt = counted.promptTokenCount + counted.toolUsePromptTokenCount
    made = counted.candidatesTokenCount + counted.thoughtsTokenCount
    thought = CompletionDetails(counted.thoughtsTokenCount) if counted.thoughtsTokenCount else None
    cached = PromptDetails(counted.cachedContentTokenCount)
    return Usage(prompt, made, prompt + made, cached, thought, STANDARD)


def _event(content: Json) -> bytes:
    return b"data: " + _encode(content) + b"\n\n"
