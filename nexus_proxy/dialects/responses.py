"""`/v1/responses` as the relay speaks it. What becomes of a request is told in `responses_request`,
of an answer in `responses_stream`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.base import Asked, Json, Translated
from nexus_proxy.dialects.responses_recent import Recent
from nexus_proxy.dialects.responses_request import Translation, to_chat
from nexus_proxy.dialects.responses_stream import KEEP_ALIVE, FromChatStream, from_chat
from nexus_proxy.dialects.responses_tools import Tools
from nexus_proxy.dialects.sse import MEDIA_TYPE
from nexus_proxy.errors import NexusError


class Responses:
    """OpenAI's Responses API; see `Dialect`. Remembers items of its answers, and nothing else."""

    stream_type = MEDIA_TYPE
    ping = KEEP_ALIVE
    id_header: bytes | None = None

    def __init__(self) -> None:
        self._recent = Recent()

    def recalled(self, body: Json, owner: str) -> Json:
        """See `Recent.recalled`."""
        return self._recent.recalled(owner, body)

    def to_chat(self, body: Json) -> Translated:
        """See `Dialect.to_chat`."""
        translation = to_chat(body)
        return Translated(body=translation.chat, notes=translation.notes, kept=translation)

    def from_chat(self, answer: Json, asked: Asked) -> Json:
        """See `Dialect.from_chat`."""
        return from_chat(answer, _kept(asked), keep=self._keep(asked), **_named(asked))

    def stream(self, asked: Asked) -> FromChatStream:
        """See `Dialect.stream`."""
        return FromChatStream(_kept(asked), keep=self._keep(asked), **_named(asked))

    def error_body(self, error: NexusError, request_id: str) -> bytes:
        """As in chat."""
        return openai.error_body(error)

    def _keep(self, asked: Asked) -> Callable[[list[Json]], None] | None:
        if _kept(asked).asked.get("store") is False:
            return None
        return partial(self._recent.keep, asked.owner)


def _kept(asked: Asked) -> Translation:
    """What was kept of the request; of one that could not be translated, nothing."""
    kept: Translation | None = asked.kept
    return kept or Translation(chat={}, notes=[], tools=Tools(), asked={})


def _named(asked: Asked) -> dict[str, Any]:
    return {"response_id": f"resp_{asked.id}", "created": asked.created, "model": asked.model}
