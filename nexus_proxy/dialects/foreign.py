"""The dialects that are translated, by the endpoint that speaks them."""

from __future__ import annotations

from nexus_proxy.dialects.anthropic import Messages
from nexus_proxy.dialects.base import Dialect
from nexus_proxy.dialects.ollama import Ollama
from nexus_proxy.dialects.ollama_request import Route
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.responses import Responses

FOREIGN: dict[Endpoint, Dialect] = {
    Endpoint.MESSAGES: Messages(),
    Endpoint.RESPONSES: Responses(),
    Endpoint.OLLAMA_CHAT: Ollama(Route.CHAT),
    Endpoint.OLLAMA_GENERATE: Ollama(Route.GENERATE),
    Endpoint.OLLAMA_EMBED: Ollama(Route.EMBED),
    Endpoint.OLLAMA_EMBEDDINGS: Ollama(Route.EMBEDDINGS),
}
