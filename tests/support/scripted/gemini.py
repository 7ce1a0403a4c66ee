"""Google's Gemini API by its documentation: behaviours of a scripted backend, and its lists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted.answers import SSE_HEADERS
from tests.support.scripted.payloads import sse
from tests.support.scripted.wire import Behaviour, Exchange, encode

SIGNATURE = "CiQB0e2Kb1a7NQ=="
USAGE = {
    "promptTokenCount": 107,
    "cachedContentTokenCount": 100,
    "candidatesTokenCount": 8,
    "thoughtsTokenCount": 3,
    "totalTokenCount": 118,
}


def thought(said: str) -> dict[str, Any]:
    return {"text": said, "thought": True}


def text(said: str) -> dict[str, Any]:
    return {"text": said}


def call(name: str, signature: str | None = None, **arguments: Any) -> dict[str, Any]:
    signed = {"thoughtSignature": signature} if signature else {}
    return {"functionCall": {"name": name, "args": arguments}, **signed}


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A behaviour: answer with these parts, as a stream where one is asked for. `after`: so many
    events of a stream come, then `last` (default: the end of the body)."""

    parts: Sequence[Mapping[str, Any]] = field(default_factory=lambda: [text("Hello there.")])
    finish: str = "STOP"
    after: int | None = None
    last: Any = None

    async def __call__(self, exchange: Exchange) -> None:
        if "streamGenerateContent" not in exchange.request.path:
            await exchange.respond(200, encode(self.whole()), "application/json")
            return
        await exchange.write(exchange.head(200, {**SSE_HEADERS, "transfer-encoding": "chunked"}))
        for event in list(self.events())[: self.after]:
            await exchange.chunk(sse(event))
        if self.last is not None:
            await exchange.chunk(sse(self.last))
        await exchange.write(b"0\r\n\r\n")

    def whole(self) -> dict[str, Any]:
        """The answer that is no stream."""
        content = {"role": "model", "parts": list(self.parts)}
        candidate = {"content": content, "finishReason": self.finish, "index": 0}
        return _answer(candidate, USAGE)

    def events(self) -> Iterator[dict[str, Any]]:
        """The answers of a stream; text comes in halves, calls whole."""
        for part in self.parts:
            for piece in _pieces(part):
                content = {"role": "model", "parts": [piece]}
                yield _answer({"content": content, "index": 0}, {"promptTokenCount": 107})
        last = {"content": {"role": "model", "parts": []}, "finishReason": self.finish, "index": 0}
        yield _answer(last, USAGE)


def fault(
    code: int, status: str, message: str, *, retry: str | None = None, listed: bool = False
) -> Behaviour:
    """An error in Google's shape, in a list where `listed`."""
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": retry}]
    inner = {"code": code, "message": message, "status": status}
    told = {"error": {**inner, "details": details} if retry else inner}

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(code, encode([told] if listed else told), "application/json")

    return answer


def model(id_: str, *, serves: str = "generateContent", **more: Any) -> dict[str, Any]:
    """An entry of `/v1beta/models`."""
    return {
        "name": f"models/{id_}",
        "displayName": id_.title(),
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": [serves, "countTokens"],
        **more,
    }


def _answer(candidate: Mapping[str, Any], usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": "gemini",
        "responseId": "r1",
    }


def _pieces(part: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    said = part.get("text")
    if said is None:
        yield dict(part)
        return
    middle = len(said) // 2
    for piece in (said[:middle], said[middle:]):
        if piece:
            yield {**part, "text": piece}
