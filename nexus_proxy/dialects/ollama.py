"""Ollama's `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings` as the relay speaks
them. What becomes of a request is told in `ollama_request`, of an answer in `ollama_stream`.
"""

from __future__ import annotations

import msgspec

from nexus_proxy.dialects.base import Asked, Json, Translated
from nexus_proxy.dialects.ollama_request import Route, to_openai
from nexus_proxy.dialects.ollama_stream import (
    KEEP_ALIVE,
    MEDIA_TYPE,
    FromChatStream,
    from_chat,
    from_embeddings,
)
from nexus_proxy.dialects.openai import error_sentence
from nexus_proxy.errors import NexusError, UpstreamStatusError


class Ollama:
    """One hot route of Ollama's API; see `Dialect`."""

    stream_type = MEDIA_TYPE
    ping = KEEP_ALIVE
    id_header: bytes | None = None

    def __init__(self, route: Route) -> None:
        self._route = route

    def to_chat(self, body: Json) -> Translated:
        """See `Dialect.to_chat`."""
        return to_openai(self._route, body)

    def from_chat(self, answer: Json, asked: Asked) -> Json:
        """See `Dialect.from_chat`. Raises `ValueError` for arguments of a tool that are no JSON."""
        if self._route in (Route.EMBED, Route.EMBEDDINGS):
            return from_embeddings(answer, self._route, model=asked.model)
        return from_chat(answer, self._route, created=asked.created, model=asked.model)

    def stream(self, asked: Asked) -> FromChatStream:
        """See `Dialect.stream`."""
        return FromChatStream(self._route, created=asked.created, model=asked.model)

    def error_body(self, error: NexusError, request_id: str) -> bytes:
        """`{"error": "…"}`."""
        message = error.message
        if isinstance(error, UpstreamStatusError):
            message = error_sentence(error.body) or message
        return msgspec.json.encode({"error": message})
