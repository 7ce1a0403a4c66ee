"""Anthropic's API as its documentation has it: behaviours of a scripted backend, and its lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted.answers import SSE_HEADERS
from tests.support.scripted.wire import Behaviour, Exchange, encode

SIGNATURE = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="
PING: dict[str, Any] = {"type": "ping"}
USAGE: dict[str, Any] = {
    "input_tokens": 7,
    "cache_creation_input_tokens": 20,
    "cache_read_input_tokens": 100,
    "cache_creation": {"ephemeral_5m_input_tokens": 15, "ephemeral_1h_input_tokens": 5},
    "output_tokens": 11,
    "output_tokens_details": {"thinking_tokens": 3},
    "service_tier": "standard",
}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said, "citations": None}


def thinking(thought: str, signature: str = SIGNATURE) -> dict[str, Any]:
    return {"type": "thinking", "thinking": thought, "signature": signature}


def tool_use(id_: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": name, "input": arguments}


@dataclass(frozen=True, kw_only=True)
class Message:
    """A behaviour: answer a request of Messages with these blocks, as a stream where one is asked
    for. `after`: so many events of a stream come, then `last` (default: the end of the body)."""

    content: Sequence[Mapping[str, Any]] = field(default_factory=lambda: [text("Hello there.")])
    stop: str = "end_turn"
    after: int | None = None
    last: Mapping[str, Any] | None = None

    async def __call__(self, exchange: Exchange) -> None:
        if not exchange.request.streams:
            await exchange.respond(
                200, encode(self.whole(exchange.request.json)), "application/json"
            )
            return
        head = {**SSE_HEADERS, "transfer-encoding": "chunked"}
        await exchange.write(exchange.head(200, head))
        for number, event in enumerate(self.events(exchange.request.json)):
            if number == self.after:
                break
            await exchange.chunk(framed(event))
        if self.last is not None:
            await exchange.chunk(framed(self.last))
        await exchange.write(b"0\r\n\r\n")

    def whole(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a request without `stream`."""
        return {
            "model": asked["model"],
            "id": "msg_01",
            "type": "message",
            "role": "assistant",
            "content": list(self.content),
            "stop_reason": self.stop,
            "stop_sequence": None,
            "usage": USAGE,
        }

    def events(self, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The events of a stream, with pings where Anthropic puts them."""
        begun = {**USAGE, "output_tokens": 1, "output_tokens_details": None}
        message = {**self.whole(asked), "content": [], "stop_reason": None, "usage": begun}
        yield {"type": "message_start", "message": message}
        for index, block in enumerate(self.content):
            yield {"type": "content_block_start", "index": index, "content_block": _empty(block)}
            yield PING
            for delta in _deltas(block):
                yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        told = {k: v for k, v in USAGE.items() if k not in ("cache_creation", "service_tier")}
        delta = {"stop_reason": self.stop, "stop_sequence": None}
        yield {"type": "message_delta", "delta": delta, "usage": told}
        yield {"type": "message_stop"}


def framed(event: Mapping[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), encode(event))


def fault(
    status: int, kind: str, message: str, headers: Mapping[str, str] | None = None
) -> Behaviour:
    """An error in Anthropic's shape."""

    async def answer(exchange: Exchange) -> None:
        told = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}
        await exchange.respond(status, encode(told), "application/json", headers)

    return answer


def model(id_: str, *, able: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """An entry of `/v1/models`."""
    words = ("image_input", "pdf_input", "thinking", "structured_outputs", "effort")
    return {
        "id": id_,
        "type": "model",
        "display_name": id_.title(),
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": 200_000,
        "max_tokens": 64_000,
        "capabilities": {word: {"supported": word in able} for word in words},
        **more,
    }


def page(models: Sequence[Mapping[str, Any]], *, has_more: bool = False) -> dict[str, Any]:
    """A page of `/v1/models`."""
    ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
    return {"data": list(models), "has_more": has_more, **ends}


def _empty(block: Mapping[str, Any]) -> dict[str, Any]:
    empty = {"text": "", "thinking": "", "signature": "", "input": {}}
    return {key: empty.get(key, value) for key, value in block.items()}


def _deltas(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    match block:
        case {"type": "text", "text": said}:
            for piece in _halves(said):
                yield {"type": "text_delta", "text": piece}
        case {"type": "thinking", "thinking": thought, "signature": signature}:
            for piece in _halves(thought):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": signature}
        case {"type": "tool_use", "input": arguments}:
            yield {"type": "input_json_delta", "partial_json": ""}
            if arguments:
                for piece in _halves(json.dumps(arguments)):
                    yield {"type": "input_json_delta", "partial_json": piece}


def _halves(said: str) -> tuple[str, ...]:
    middle = len(said) // 2
    return tuple(piece for piece in (said[:middle], said[middle:]) if piece)
