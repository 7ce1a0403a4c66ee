"""Any server with an OpenAI-like model list: the cautious reading, and the base of vendors' own.

Observed on the MLX-LM server 0.32.2: `GET /v1/models` answers 200 with an empty body when its model
cache cannot be read, it speaks HTTP/1.0 and handles one request at a time, so an unanswered check
while it generates proves nothing. Of unknown servers nothing is trusted that would lose an answer:
whether they answer while busy is learnt. They are sent what the client sent, streaming or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_proxy.backends.ask import NODE_HEADER, Inquiry
from nexus_proxy.backends.base import Adapter, Target
from nexus_proxy.backends.capabilities import denied_by, understood
from nexus_proxy.backends.foreign import count, mapping, model_entries, text, texts
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

_CONTEXT_KEYS = (
    "context_length",
    "max_model_len",
    "context_window",
    "max_context_window",
    "max_context_length",
    "max_input_tokens",
)
"""Where servers and resellers say the context of a model, in tokens (LiteLLM, OpenRouter, Groq,
Lemonade, Together; the last one is Anthropic's)."""


class Generic(Adapter):
    """An OpenAI-compatible server of no kind that Nexus knows."""

    type = BackendType.GENERIC
    title = "OpenAI-compatible"
    traits: ClassVar[Traits] = Traits()

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """One GET of the model list. Raises `ProbeFailed` without one."""
        inquiry = Inquiry(client, target, self)
        answer = await inquiry.get("/v1/models")
        if answer.status == 200 and not answer.body.strip():
            return Probe(
                models=None, note="answers, but names no models; ask for them by backend/id"
            )
        if answer.status == 503 and b"loading" in answer.body.lower():
            return Probe(models=None, loading=True)
        entries = model_entries(answer.json) if answer.status == 200 else None
        if entries is None:
            raise inquiry.refusal(answer)
        forwards = NODE_HEADER in answer.headers
        return Probe(models=tuple(self.read(entry) for entry in entries), forwards=forwards)

    def read(self, entry: Mapping[str, Any]) -> ModelInfo:
        """One entry of the list, which has an id. What it does not say stays unknown."""
        can = understood(said_words(entry))
        if "image" in texts(mapping(entry.get("architecture")).get("input_modalities")):
            can |= {Capability.VISION}
        return ModelInfo(
            id=str(entry["id"]),
            context_length=said_context(entry),
            can=can,
            cannot=denied_by(can),
            quantization=text(entry.get("quantization")),
        )


def said_context(entry: Mapping[str, Any]) -> int | None:
    """The context that a model list's entry states under any of the usual names, in tokens."""
    return next((n for key in _CONTEXT_KEYS if (n := count(entry.get(key)))), None)


def said_words(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """All words in which an entry states capabilities."""
    kind = text(entry.get("type"))
    lists = (texts(entry.get(key)) for key in ("capabilities", "labels", "supported_parameters"))
    return (*((kind,) if kind else ()), *(word for words in lists for word in words))
