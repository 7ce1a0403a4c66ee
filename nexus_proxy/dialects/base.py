"""What a dialect must be able to do so that the relay can speak it.

OpenAI's chat is the form that all others are turned into and out of: a request in another dialect
becomes a chat request before it is routed, and the answer is turned back as its last step. So the
relay knows one dialect, chat costs nothing, and each other one is a pure translator.

Beside what OpenAI documents, a message or delta may hold `reasoning_content` (text): what was
thought before the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct

from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import NexusError

Json = dict[str, Any]


class Asked(Struct, frozen=True):
    """What an answer must know of its request.

    Attributes:
        id: of the request, as in `X-Request-Id`.
        model: as the client wrote it; answers name it so.
        created: seconds since the epoch.
        prompt_tokens: estimated, for dialects that tell them before the backend has counted.
        kept: what the dialect kept of it, see `Translated`.
        owner: the name of the API key that it came with; empty without one.
    """

    id: str
    model: str
    created: int
    prompt_tokens: int
    kept: Any
    owner: str = ""


class Translated(Struct, frozen=True, kw_only=True):
    """A request as one of OpenAI's.

    Attributes:
        body: as a backend takes it.
        notes: what it cannot carry, as sentences without a full stop.
        endpoint: what `body` is for; all but Ollama's embeddings, and its completions without a
            template, are for chat.
        kept: what the dialect must know of the request when it is answered.
    """

    body: Json
    notes: Sequence[str]
    endpoint: Endpoint = Endpoint.CHAT
    kept: Any = None


class ChatStream(Protocol):
    """Turns the chunks of one chat stream into the caller's events."""

    def feed(self, chunk: Json) -> list[bytes]:
        """Events for one chunk. Raises `ValueError` for a chunk that makes no sense here."""

    def finish(self) -> list[bytes]:
        """The last events, after a stream that was whole."""

    def error(self, error: NexusError) -> list[bytes]:
        """The events that end a broken stream, in a form on which real clients raise."""


class Dialect(Protocol):
    """One dialect other than OpenAI's chat. Keeps no state.

    Attributes:
        stream_type: content type of a stream.
        ping: bytes that keep a waiting client's connection alive; empty where there are none.
        id_header: the header in which its clients look for the request's id, if not ours.
    """

    stream_type: bytes
    ping: bytes
    id_header: bytes | None

    def to_chat(self, body: Json) -> Translated:
        """The request for a backend. Raises `InvalidRequestError`."""

    def from_chat(self, answer: Json, asked: Asked) -> Json:
        """The answer to a request without a stream."""

    def stream(self, asked: Asked) -> ChatStream:
        """A translator for one stream."""

    def error_body(self, error: NexusError, request_id: str) -> bytes:
        """An error as the body of an answer."""
