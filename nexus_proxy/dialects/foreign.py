"""The dialects that are translated, by the endpoint that speaks them."""

from __future__ import annotations

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.anthropic import Messages
from nexus_proxy.dialects.base import Dialect
from nexus_proxy.dialects.ollama import Ollama
from nexus_proxy.dialects.ollama_request import Route
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.responses import Responses
from nexus_proxy.errors import NexusError

OLLAMA = frozenset(
    (
        Endpoint.OLLAMA_CHAT,
        Endpoint.OLLAMA_GENERATE,
        Endpoint.OLLAMA_EMBED,
        Endpoint.OLLAMA_EMBEDDINGS,
    )
)
FOREIGN: dict[Endpoint, Dialect] = {
    Endpoint.MESSAGES: Messages(),
    Endpoint.RESPONSES: Responses(),
    Endpoint.OLLAMA_CHAT: Ollama(Route.CHAT),
    Endpoint.OLLAMA_GENERATE: Ollama(Route.GENERATE),
    Endpoint.OLLAMA_EMBED: Ollama(Route.EMBED),
    Endpoint.OLLAMA_EMBEDDINGS: Ollama(Route.EMBEDDINGS),
}


def error_body(error: NexusError, dialect: Dialect | None, request_id: str) -> bytes:
    """An error as the body of an answer; `dialect` None: OpenAI's."""
    return openai.error_body(error) if dialect is None else dialect.error_body(error, request_id)


def id_headers(dialect: Dialect | None, request_id: bytes) -> list[tuple[bytes, bytes]]:
    """The request's id once more, where the dialect's clients look for it by another name."""
    name = None if dialect is None else dialect.id_header
    return [] if name is None else [(name, request_id)]
