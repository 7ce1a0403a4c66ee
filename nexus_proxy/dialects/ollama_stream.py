"""Answers of chat, completions and embeddings as Ollama's, whole and as lines of JSON.

Calls come whole, in one line before the last, with their arguments as an object. The last line has
the counts, and the times in nanoseconds where the backend tells them (llama.cpp's `timings`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.chat_pieces import Calls, Counts, Room, as_chunk, check, counts
from nexus_proxy.dialects.ollama_request import Route, error_body
from nexus_proxy.errors import NexusError

MEDIA_TYPE = b"application/x-ndjson"
KEEP_ALIVE = b""
"""Nothing: clients read every line as JSON."""

_REASONS = {"length": "length"}
_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode


class FromChatStream:
    """Chunks of a chat or completion stream in, lines out.

    `created` is seconds since the epoch; `model` is the name that the client asked for.
    """

    def __init__(self, route: Route, *, created: float, model: str) -> None:
        self._base = _base(created, model)
        self._is_chat = route is Route.CHAT
        place = b'"message":{"role":"assistant","content":' if self._is_chat else b'"response":'
        self._before = _encode(self._base)[:-1] + b"," + place
        self._calls = Calls(lambda position: f"call_{position}", Room())
        self._reason: str | None = None
        self._usage = Counts()
        self._timings: Json = {}

    def feed(self, chunk: Json) -> list[bytes]:
        """The lines that follow from one chunk. Raises `ValueError` for what is no chunk, for
        calls that become too long, and for arguments that are no JSON object, which this dialect
        cannot tell."""
        check(chunk)
        self._look(chunk)
        lines = []
        for choice in chunk.get("choices") or ():
            if not choice.get("index"):
                told = self._reason
                text, more, logprobs = self._said(choice)
                if text or more:
                    lines.append(self._line(text, more, logprobs))
                if choice.get("finish_reason") and not told and (calls := self.calls()):
                    lines.append(self._line("", {"tool_calls": calls}, None))
        return lines

    def finish(self) -> list[bytes]:
        """The last line."""
        return [_encode({**self._base, **_text("", {}, self._is_chat), **self.ending()}) + b"\n"]

    def error(self, error: NexusError) -> list[bytes]:
        """The line that ends a broken stream."""
        return [error_body(error) + b"\n"]

    def whole(self, chunk: Json) -> Json:
        """The answer that one chunk is; raises as `feed` does."""
        check(chunk)
        self._look(chunk)
        choice: Json = next(iter(chunk.get("choices") or ()), {})
        text, more, logprobs = self._said(choice)
        if calls := self.calls():
            more["tool_calls"] = calls
        likely = {"logprobs": logprobs} if logprobs else {}
        return {**self._base, **_text(text, more, self._is_chat), **likely, **self.ending()}

    def calls(self) -> list[Json]:
        """The calls so far. Raises `ValueError` for arguments that are no JSON object."""
        return [
            {
                "id": call.id,
                "function": {
                    "index": call.position,
                    "name": call.name,
                    "arguments": _object(call.arguments),
                },
            }
            for call in self._calls.all
        ]

    def ending(self) -> Json:
        """What the last line says of the whole: the reason, counts and times."""
        read, wrote = (_ns(self._timings.get(key)) for key in ("prompt_ms", "predicted_ms"))
        told = {
            "total_duration": None if read is None or wrote is None else read + wrote,
            "prompt_eval_count": self._usage.prompt_tokens,
            "prompt_eval_duration": read,
            "eval_count": self._usage.completion_tokens,
            "eval_duration": wrote,
        }
        known = {key: value for key, value in told.items() if value is not None}
        return {"done": True, "done_reason": _REASONS.get(self._reason or "", "stop"), **known}

    def _look(self, chunk: Json) -> None:
        self._usage = counts(chunk) or self._usage
        timings = chunk.get("timings")
        self._timings = timings if isinstance(timings, dict) else self._timings

    def _said(self, choice: Json) -> tuple[str, Json, Any]:
        """What a choice says that is shown at once: text, thoughts, log probabilities."""
        self._reason = choice.get("finish_reason") or self._reason
        delta = choice.get("delta") or {}
        if self._is_chat:
            for piece in delta.get("tool_calls") or ():
                self._calls.add(piece)
        text = delta.get("content") or delta.get("refusal") or choice.get("text") or ""
        thought = delta.get("reasoning_content") or delta.get("reasoning") or ""
        logprobs = (choice.get("logprobs") or {}).get("content")
        return text, {"thinking": thought} if thought else {}, logprobs

    def _line(self, text: str, more: Json, logprobs: Any) -> bytes:
        line = self._before + _encode(text)
        if more:
            line += b"," + _encode(more)[1:-1]
        if self._is_chat:
            line += b"}"
        if logprobs:
            line += b',"logprobs":' + _encode(logprobs)
        return line + b',"done":false}\n'


def loaded(route: Route, *, created: float, model: str) -> Json:
    """The answer to a request that only loads a model. See `FromChatStream` for the arguments."""
    nothing = _text("", {}, route is Route.CHAT)
    return {**_base(created, model), **nothing, "done": True, "done_reason": "load"}


def _base(created: float, model: str) -> Json:
    at = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
    return {"model": model, "created_at": at}


def _text(text: str, more: Json, is_chat: bool) -> Json:
    if is_chat:
        return {"message": {"role": "assistant", "content": text, **more}}
    return {"response": text, **more}


def from_chat(
    answer: Json,
    route: Route,
    *,
    created: float,
    model: str,
) -> Json:
    """A whole answer of chat or completions. Raises `ValueError` as `FromChatStream.feed`."""
    stream = FromChatStream(route, created=created, model=model)
    return stream.whole(as_chunk(answer))


def from_embeddings(answer: Json, route: Route, *, model: str) -> Json:
    """An answer of `/v1/embeddings` (floats) as one of `/api/embed` or `/api/embeddings`."""
    entries = sorted(answer.get("data") or (), key=lambda entry: entry.get("index") or 0)
    vectors = [entry["embedding"] for entry in entries]
    if route is Route.EMBEDDINGS:
        return {"embedding": vectors[0] if vectors else []}
    usage = counts(answer) or Counts()
    told: Json = {"model": model, "embeddings": vectors}
    if usage.prompt_tokens is not None:
        told["prompt_eval_count"] = usage.prompt_tokens
    return told


def _object(arguments: str) -> Json:
    decoded: Json = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    return decoded


def _ns(milliseconds: Any) -> int | None:
    return int(milliseconds * 1e6) if isinstance(milliseconds, int | float) else None
