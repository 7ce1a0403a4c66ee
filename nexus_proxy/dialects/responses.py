"""`/v1/responses` as the relay speaks it. What becomes of a request is told in `responses_request`,
of an answer in `responses_stream`.
"""

from __future__ import annotations

from typing import Any

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.base import Asked, Json
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.responses_request import to_chat
from nexus_proxy.dialects.responses_stream import KEEP_ALIVE, FromChatStream, from_chat
from nexus_proxy.errors import NexusError, UpstreamStatusError


class Responses:
    """OpenAI's Responses API; see `Dialect`."""

    stream_type = b"text/event-stream; charset=utf-8"
    ping = KEEP_ALIVE
    id_header: bytes | None = None

    def target(self, body: Json) -> Endpoint:
        """See `Dialect.target`."""
        return Endpoint.CHAT

    def to_chat(self, body: Json) -> tuple[Json, list[str]]:
        """See `Dialect.to_chat`."""
        translation = to_chat(body)
        return translation.chat, translation.notes

    def from_chat(self, answer: Json, asked: Asked) -> Json:
        """See `Dialect.from_chat`."""
        return from_chat(answer, to_chat(asked.body), **_named(asked))

    def stream(self, asked: Asked) -> FromChatStream:
        """See `Dialect.stream`."""
        return FromChatStream(to_chat(asked.body), **_named(asked))

    def error_body(self, error: NexusError, request_id: str) -> bytes:
        """As in chat."""
        if isinstance(error, UpstreamStatusError):
            return openai.upstream_error_body(error)
        return openai.error_body(error)


def _named(asked: Asked) -> dict[str, Any]:
    return {"response_id": f"resp_{asked.id}", "created": asked.created, "model": asked.model}
