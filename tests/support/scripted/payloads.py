"""What a healthy OpenAI-like server says: JSON objects and server-sent events, as pure values."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.scripted.wire import Recorded, encode

CREATED = 1_795_441_974
PROMPT_TOKENS = 7
EMBEDDING_SIZE = 8
DONE = b"data: [DONE]\n\n"
NOISE_FIELDS = {"timings": {"prompt_ms": 14.2}, "x_vendor": {"deep": [1, {"a": None}]}}
NOISE_EVENTS = (
    b": a comment\n\n",
    b'event: progress\nid: 41\nretry: 3000\ndata: {"progress":0.5}\n\n',
)


@dataclass(frozen=True)
class ToolCall:
    """A call of a function. A stream tells `arguments` (JSON text) in two pieces."""

    name: str
    arguments: str


@dataclass(frozen=True, kw_only=True)
class Content:
    """What is said. Shape and length follow the request: `stream`, `n`, `logprobs`,
    `include_usage`, the number of prompts."""

    text: tuple[str, ...] | None = None
    """Pieces of content, an event each; by default a greeting with the backend's name. Set it
    for a huge event, for many chunks or for odd characters."""
    reasoning: tuple[str, ...] = ()
    """Pieces of `reasoning_content`."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: str | None = "stop"
    """Finish reason; None leaves it out. Tool calls make `stop` into `tool_calls`."""
    usage: bool = True
    """Tell usage where it is due."""
    service_tier: str | None = None
    """Told, as OpenAI does, in the answer and in each event."""
    done: bool = True
    """End a stream with `[DONE]`."""
    noise: bool = False
    """Add fields, comments, events and SSE fields that no client knows."""

    def whole(self, request: Recorded, name: str) -> dict[str, Any]:
        """The answer to a request without `stream`."""
        if request.path.endswith("/embeddings"):
            return embeddings(request)
        chat = is_chat(request)
        choices = [
            self._message(request, name, index) if chat else self._completion(name, index)
            for index in range(choice_count(request))
        ]
        usage = {"usage": self._usage(request, name)} if self.usage else {}
        kind = "chat.completion" if chat else "text_completion"
        return {**self._envelope(request, name, kind), "choices": choices, **usage}

    def events(self, request: Recorded, name: str) -> Iterator[bytes]:
        """The server-sent events of a stream, each with its empty line, framed by LF."""
        kind = "chat.completion.chunk" if is_chat(request) else "text_completion"
        envelope = self._envelope(request, name, kind)
        wants_usage = bool((request.json.get("stream_options") or {}).get("include_usage"))
        if wants_usage and self.usage:
            envelope["usage"] = None
        choices = self._chat_deltas if is_chat(request) else self._completion_deltas
        for number, choice in enumerate(choices(request, name)):
            if self.noise and number == 1:
                yield from NOISE_EVENTS
                yield sse({**envelope, "choices": []})
            yield sse({**envelope, "choices": [choice]})
        if wants_usage and self.usage:
            yield sse({**envelope, "choices": [], "usage": self._usage(request, name)})
        if self.done:
            yield DONE

    def _pieces(self, name: str) -> tuple[str, ...]:
        if self.text is not None:
            return self.text
        return () if self.tool_calls else ("Hello", " from", f" {name}", ".")

    def _finish(self) -> str | None:
        return "tool_calls" if self.tool_calls and self.finish == "stop" else self.finish

    def _envelope(self, request: Recorded, name: str, kind: str) -> dict[str, Any]:
        return {
            "id": f"cmpl-{name}",
            "object": kind,
            "created": CREATED,
            "model": request.json.get("model"),
            "system_fingerprint": name,
            **({"service_tier": self.service_tier} if self.service_tier else {}),
            **(NOISE_FIELDS if self.noise else {}),
        }

    def _usage(self, request: Recorded, name: str) -> dict[str, Any]:
        completion = len(self._pieces(name)) * choice_count(request)
        return {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": completion,
            "total_tokens": PROMPT_TOKENS + completion,
            "prompt_tokens_details": {"cached_tokens": 0},
        }

    def _message(self, request: Recorded, name: str, index: int) -> dict[str, Any]:
        pieces = self._pieces(name)
        content = "".join(pieces) if pieces else None
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if self.reasoning:
            message["reasoning_content"] = "".join(self.reasoning)
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": f"call_{number}", "type": "function", "function": vars(call)}
                for number, call in enumerate(self.tool_calls)
            ]
        choice = {"index": index, "message": message, "finish_reason": self._finish()}
        return {**choice, "logprobs": logprobs(request, pieces)}

    def _completion(self, name: str, index: int) -> dict[str, Any]:
        text = "".join(self._pieces(name))
        return {"index": index, "text": text, "logprobs": None, "finish_reason": self._finish()}

    def _chat_deltas(self, request: Recorded, name: str) -> Iterator[dict[str, Any]]:
        for index in range(choice_count(request)):
            unfinished = {"index": index, "finish_reason": None}
            yield {**unfinished, "delta": {"role": "assistant", "content": ""}}
            for piece in self.reasoning:
                yield {**unfinished, "delta": {"reasoning_content": piece}}
            for piece in self._pieces(name):
                probabilities = logprobs(request, (piece,))
                yield {**unfinished, "delta": {"content": piece}, "logprobs": probabilities}
            for call in self._tool_call_deltas():
                yield {**unfinished, "delta": {"tool_calls": [call]}}
            if self.finish is not None:
                yield {"index": index, "delta": {}, "finish_reason": self._finish()}

    def _tool_call_deltas(self) -> Iterator[dict[str, Any]]:
        for index, call in enumerate(self.tool_calls):
            opening = {"name": call.name, "arguments": ""}
            yield {"index": index, "id": f"call_{index}", "type": "function", "function": opening}
            middle = len(call.arguments) // 2
            for part in (call.arguments[:middle], call.arguments[middle:]):
                yield {"index": index, "function": {"arguments": part}}

    def _completion_deltas(self, request: Recorded, name: str) -> Iterator[dict[str, Any]]:
        for index in range(choice_count(request)):
            for piece in self._pieces(name):
                yield {"index": index, "text": piece, "logprobs": None, "finish_reason": None}
            if self.finish is not None:
                last = {"index": index, "text": "", "logprobs": None}
                yield {**last, "finish_reason": self.finish}


def is_chat(request: Recorded) -> bool:
    return request.path.endswith("/chat/completions")


def choice_count(request: Recorded) -> int:
    """`n` for each prompt."""
    body = request.json
    prompts = 1 if is_chat(request) else len(batch(body.get("prompt", "")))
    return prompts * int(body.get("n") or 1)


def batch(value: Any) -> list[Any]:
    """The inputs in a string, a list of strings, a token array or a list of token arrays."""
    whole = isinstance(value, str) or (bool(value) and isinstance(value[0], int))
    return [value] if whole else list(value)


def logprobs(request: Recorded, pieces: tuple[str, ...]) -> dict[str, Any] | None:
    """Log probabilities for the pieces, where the request asks for them."""
    if not request.json.get("logprobs"):
        return None
    tokens = [{"token": piece, "logprob": -0.25, "top_logprobs": []} for piece in pieces]
    return {"content": tokens}


def embeddings(request: Recorded) -> dict[str, Any]:
    """A vector for each input: its index, then halves, `dimensions` long."""
    body = request.json
    size = int(body.get("dimensions") or EMBEDDING_SIZE)
    data = []
    for index, _ in enumerate(batch(body["input"])):
        vector: list[float] | str = [float(index), *[0.5] * (size - 1)]
        if body.get("encoding_format") == "base64":
            vector = base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
    return {"object": "list", "model": body.get("model"), "data": data, "usage": usage}


def sse(value: Any) -> bytes:
    """One event."""
    return b"data: " + encode(value) + b"\n\n"
