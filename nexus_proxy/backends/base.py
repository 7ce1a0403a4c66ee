"""What Nexus must know of a kind of backend, and the calls that each kind implements.

A new kind is one module with one subclass of `Adapter`, listed in `backends/__init__.py` or
offered under the entry point group `nexus.backends`, where it replaces the built-in of its type.
An adapter holds no state: it is told the base URL and key at each call, does its requests through
the `httpx.AsyncClient` it is given, and turns what it saw into `Probe` and `ModelInfo` values. It
never generates, so a probe never costs money; only `load` and `unload` change anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import Struct

from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.openai import PATHS, Endpoint
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.state import ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx


class Fault(Enum):
    """Whose fault an upstream error answer is, and so what the relay does about it."""

    CALLER = "caller"
    """The request itself is wrong: pass the answer on, try nobody else, blame nobody."""
    CONTEXT_OVERFLOW = "context overflow"
    """CALLER, and the prompt is too long for this backend's context."""
    BUSY = "busy"
    """Rate limit or full queue: try another one, honour Retry-After."""
    LOADING = "loading"
    """The model is being loaded: try another one, or wait within the load clock."""
    MODEL_MISSING = "model missing"
    """It no longer has the model it listed: refresh the list, try another one."""
    UNSUPPORTED = "unsupported"
    """It cannot do this kind of request (no embeddings, no images): try another one, blame nobody,
    keep the model; with nobody left, the answer goes to the client as it is."""
    CREDENTIALS = "credentials"
    """It refuses our key: try another one, tell the operator."""
    BACKEND = "backend"
    """Anything else: try another one, count it against this one."""


class ProbeFailed(Exception):
    """A health check failed; the message is a short reason such as `connection refused`."""


class LoadFailed(Exception):
    """A model was not loaded or unloaded; the message is a clause: `it has no such model`."""


class Target(Struct, frozen=True, kw_only=True):
    """Where a backend is and how to be let in. `base_url` has no trailing slash and no `/v1`."""

    base_url: str
    api_key: str | None = None

    def __repr__(self) -> str:
        return f"Target({self.base_url!r}, api_key={'set' if self.api_key else None})"


class Adapter(ABC):
    """One kind of backend."""

    type: ClassVar[BackendType]
    title: ClassVar[str]
    """Name as people write it: `llama.cpp`, `LM Studio`."""
    traits: ClassVar[Traits]
    chat_path: ClassVar[str] = "/v1/chat/completions"
    completions_path: ClassVar[str] = "/v1/completions"
    embeddings_path: ClassVar[str] = "/v1/embeddings"
    loads_how: ClassVar[str] = "this kind of server cannot be told to load models"
    """What one must have that `Probe.loads_when_told` is not true of."""
    loads_all: ClassVar[bool] = False
    """All models that it lists are loaded and unloaded together."""
    health_path: ClassVar[str] = "/v1/models"
    """Cheapest path that proves the process is alive; asked while a request waits."""
    tongue: ClassVar[Tongue | None] = None
    """How it is asked for a chat; None: in OpenAI's own words."""
    native: ClassVar[Mapping[Endpoint, str]] = {}
    """Further dialects that it speaks as well as those who made them, and where it serves them:
    what comes in one of these is passed on as it is."""

    def path_of(self, endpoint: Endpoint) -> str:
        """Where it serves a hot endpoint, below its base URL."""
        own = {
            Endpoint.CHAT: self.chat_path,
            Endpoint.COMPLETIONS: self.completions_path,
            Endpoint.EMBEDDINGS: self.embeddings_path,
        }
        return own.get(endpoint) or PATHS[endpoint]

    def in_context(self, tokens: int) -> Tongue | None:
        """How it is asked for a chat in a context of so many tokens; None: it cannot be."""
        return None

    def takes(self, endpoint: Endpoint, body: bytes) -> bool:
        """Whether it can be sent this request of `native` as it is, and not translated."""
        return endpoint in self.native

    @abstractmethod
    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """Check health and list models with read-only requests.

        Raises `ProbeFailed` when the backend is not up or is not of this kind any more.
        """

    async def load(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """Have a model loaded, and return when it serves; the caller bounds the time. Raises
        `LoadFailed`."""
        raise LoadFailed(self.loads_how)

    async def unload(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """Have a model unloaded, and return when it is. Raises `LoadFailed`."""
        raise LoadFailed(self.loads_how)

    def auth_headers(self, target: Target) -> dict[str, str]:
        """Headers that let us in. Empty without a key."""
        return {"authorization": f"Bearer {target.api_key}"} if target.api_key else {}

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """Whose fault an answer with an error status is.

        `body` is the decoded JSON object, or None where it is none; `text` its first 4 KiB.
        """
        return classify_openai(status, body, text)


OVERFLOW_MARKS = (
    "context_length_exceeded",
    "exceed_context_size",
    "maximum context length",
    "exceeds the available context size",
    "prompt is too long",
    "exceeds the maximum number of tokens allowed",
    "prompt is longer than the context",
    "input length exceeds the context length",
    "context size has been exceeded",
    "when context the overflows",
)
"""Fragments of the sentences with which backends refuse a prompt that is too long
(llama.cpp, vLLM, Ollama, LM Studio, OpenAI, Anthropic, Google), lower case."""


def classify_openai(status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
    """The rule for OpenAI-like backends; kinds with quirks of their own look first, then ask it."""
    lowered = text.lower()
    if status in (400, 413, 500) and any(mark in lowered for mark in OVERFLOW_MARKS):
        return Fault.CONTEXT_OVERFLOW
    if status in (401, 403):
        return Fault.CREDENTIALS
    if status == 404:  # without the word, it is the path that does not exist
        return Fault.MODEL_MISSING if "model" in lowered else Fault.UNSUPPORTED
    if status in (405, 501, 508):  # 508: a Nexus that would send it back to us
        return Fault.UNSUPPORTED
    if status in (408, 409, 425, 429):
        return Fault.BUSY
    if status == 503 and "loading model" in lowered:
        return Fault.LOADING
    if status == 503:
        return Fault.BUSY
    return Fault.BACKEND if status >= 500 else Fault.CALLER
