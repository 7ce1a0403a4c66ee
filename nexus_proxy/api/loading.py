"""Ollama's clients load a model before they ask it anything: `ollama run` begins with a request
without a prompt. Backends load what a request needs, so that one gets Ollama's answer to it if the
model is there, and reaches no backend.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects import ollama_stream
from nexus_proxy.dialects.ollama_request import Route
from nexus_proxy.dialects.openai import UNREADABLE, Endpoint
from nexus_proxy.relay.call import Envelope
from nexus_proxy.routing.resolve import resolve
from nexus_proxy.runtime import Runtime

ENDPOINTS = {Endpoint.OLLAMA_CHAT: Route.CHAT, Endpoint.OLLAMA_GENERATE: Route.GENERATE}
LONGEST = 1024
"""Bytes. Such a request holds little but the model's name; longer ones are not looked at."""


class _Asked(Struct):
    model: str
    prompt: str | None = None
    messages: list[Any] | None = None
    images: list[Any] | None = None
    keep_alive: float | str | None = None

    @property
    def only_loads(self) -> bool:
        """A `keep_alive` of 0 unloads, which is not for clients to say."""
        said = self.prompt or self.messages or self.images
        return not said and self.keep_alive not in (0, "0", "0s")


_decode = msgspec.json.Decoder(_Asked).decode


def loaded(envelope: Envelope, body: bytes, runtime: Runtime) -> bytes | None:
    """The answer to a request that only loads a model; None: it is another one.

    Raises `UnknownModelError` and `ModelNotAllowedError`.
    """
    if len(body) > LONGEST:
        return None
    try:
        asked = _decode(body)
    except UNREADABLE:
        return None
    if not asked.only_loads:
        return None
    names = resolve(asked.model, runtime.registry, runtime.relay.rules).names
    if envelope.key is not None:
        envelope.key.require(asked.model, names)
    route = ENDPOINTS[envelope.endpoint]
    return msgspec.json.encode(ollama_stream.loaded(route, created=time.time(), model=asked.model))
