"""Gemini's answers as chat's: each event of a stream is an answer of its own, with the next parts.

A stream has no last event: it ends after the finish reason of each candidate.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.gemini_signatures import Signatures, signed
from nexus_proxy.dialects.openai import ABSENT, UNREADABLE, says_nothing
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


class _Call(Struct):
    id: str | None = None
    name: str = ""
    args: Raw = ABSENT


class _Part(Struct):
    text: str | None = None
    thought: bool = False
    functionCall: _Call | None = None
    thoughtSignature: str | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct):
    index: int | None = None
    content: _Content | None = None
    finishReason: str | None = None
    finishMessage: str | None = None


class _Feedback(Struct):
    blockReason: str | None = None


class Answer(Struct):
    """One answer, whole or the next piece of it."""

    candidates: list[_Candidate] | None = None
    promptFeedback: _Feedback | None = None
    usageMetadata: Raw = ABSENT
    responseId: str | None = None
    error: Json | None = None


_decode = msgspec.json.Decoder(Answer | list[Answer]).decode


def read(data: bytes) -> Answer:
    """An answer, which may come in a list of one. Raises `ValueError` for what is none."""
    told: Answer | list[Answer] = _decode(data)
    if isinstance(told, list):
        return told[0] if told else Answer()
    return told


class Candidates:
    """Reads the answers of one stream, or one whole answer.

    Attributes:
        problem: why there is no answer though there should be one.
    """

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._calls: dict[int, int] = {}
        self.problem: str | None = None

    def read(self, answer: Answer) -> list[Piece]:
        """What is new in it."""
        feedback = answer.promptFeedback
        if not answer.candidates and feedback is not None and feedback.blockReason:
            refusal = f"Google blocked the prompt ({feedback.blockReason})"
            return [(0, {"role": "assistant", "refusal": refusal}, "content_filter")]
        pieces: list[Piece] = []
        for candidate in answer.candidates or ():
            self._candidate(candidate, answer.responseId, pieces)
        return pieces

    def _candidate(self, candidate: _Candidate, id_: str | None, pieces: list[Piece]) -> None:
        index = candidate.index or 0
        if index not in self._calls:
            self._calls[index] = 0
            pieces.append((index, {"role": "assistant"}, None))
        for part in (candidate.content and candidate.content.parts) or ():
            if part.functionCall is not None:
                delta = self._call(part.functionCall, part.thoughtSignature, index, id_)
                pieces.append((index, delta, None))
            elif part.text:
                key = "reasoning_content" if part.thought else "content"
                pieces.append((index, {key: part.text}, None))
        if reason := candidate.finishReason:
            if reason in _BROKEN:
                said = candidate.finishMessage or "it called a tool in a way that is none"
                self.problem = f"{said} ({reason})"
            pieces.append((index, {}, self._finish(reason, index)))

    def _call(self, call: _Call, signature: str | None, index: int, id_: str | None) -> Json:
        position, self._calls[index] = self._calls[index], self._calls[index] + 1
        call_id = call.id or f"call_{id_}_{index}_{position}"
        arguments = "{}" if says_nothing(call.args) else bytes(call.args).decode()
        function = {"name": call.name, "arguments": arguments}
        told = {"index": position, "id": call_id, "type": "function", "function": function}
        if signature is not None:
            self._signatures.note(call_id, signature)
            told |= signed(signature)
        return {"tool_calls": [told]}

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
        self._id: str | None = None
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
                out += self._events(read(told))
        return b"".join(out)

    def _events(self, answer: Answer) -> list[bytes]:
        if answer.error:
            return [_event({"error": failed(answer.error)})]
        if not self._head or answer.responseId != self._id:
            self._frame(answer.responseId)
        out: list[bytes] = []
        is_last = False
        for index, delta, finish in self._candidates.read(answer):
            if finish is not None:
                if (problem := self._candidates.problem) is not None:
                    return [*out, _event({"error": failed({"message": problem, "code": 502})})]
                is_last = True
            told = (
                self._head,
                index,
                _encode(delta),
                b"null" if finish is None else _encode(finish),
            )
            out.append(b'%b"choices":[{"index":%d,"delta":%b,"finish_reason":%b}]}\n\n' % told)
        if is_last and (usage := usage_of(answer.usageMetadata)) is not None:
            told_last = _encode({"choices": [], **usage_fields(usage)})
            out.append(self._head + told_last[1:] + b"\n\n")
        return out

    def _frame(self, id_: str | None) -> None:
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


_decode_counted = msgspec.json.Decoder(_Counted).decode


def usage_of(told: Raw) -> Usage | None:
    """Google's counts as chat's: thoughts are a part of the answer. None where it says nothing."""
    try:
        counted = _Counted() if says_nothing(told) else _decode_counted(told)
    except UNREADABLE:
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
