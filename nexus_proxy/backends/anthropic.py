"""Anthropic's own API, and servers that speak it.

From its documentation and SDK 2.14:
- Messages is the one dialect that it speaks: a request in that dialect goes to it as it came, chat
  is translated (`dialects.claude`). There are no completions and no embeddings.
- `/v1/models` comes in pages of up to 1,000 and tells contexts, longest answers and capabilities.
  `retired` models stay listed and fail when asked for.
- The key goes in `x-api-key`; each request names a version of the API.
- 529 `overloaded_error` is its word for busy. An empty purse is 402, or 400 with a sentence about
  the credit balance: waiting does not help, so both count as `CREDENTIALS`.
- Its edge keeps idle connections for minutes, as OpenAI's does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from nexus_proxy.backends.ask import Inquiry
from nexus_proxy.backends.base import Adapter, Fault, Target, classify_openai
from nexus_proxy.backends.foreign import MAX_MODELS, count, flag, mapping, model_entries, text
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.claude import VERSION, Claude
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

PAGE = 1000
_CAN = frozenset({Capability.CHAT, Capability.TOOLS})
_CANNOT = frozenset(
    {Capability.COMPLETIONS, Capability.EMBEDDINGS, Capability.RERANK, Capability.AUDIO}
)
_WORDS = {
    "image_input": Capability.VISION,
    "thinking": Capability.THINKING,
    "structured_outputs": Capability.JSON_SCHEMA,
}
_UNPAID = ("credit balance is too low", "billing_error")


class Anthropic(Adapter):
    """api.anthropic.com."""

    type = BackendType.ANTHROPIC
    title = "Anthropic"
    traits: ClassVar[Traits] = Traits(
        is_cloud=True, idle_reuse_seconds=60.0, answers_while_busy=True
    )
    tongue: ClassVar[Tongue] = Claude()
    native: ClassVar[Mapping[Endpoint, str]] = {Endpoint.MESSAGES: "/v1/messages"}

    def auth_headers(self, target: Target) -> dict[str, str]:
        """Anthropic's own header."""
        return {"x-api-key": target.api_key} if target.api_key else {}

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """The pages of `/v1/models`. Raises `ProbeFailed` without them."""
        inquiry = Inquiry(client, target, self, {"anthropic-version": VERSION})
        models: list[ModelInfo] = []
        path = f"/v1/models?limit={PAGE}"
        while True:
            answer = await inquiry.get(path)
            entries = model_entries(answer.json) if answer.status == 200 else None
            if entries is None:
                raise inquiry.refusal(answer)
            models += [read(entry) for entry in entries if entry.get("lifecycle") != "retired"]
            said = mapping(answer.json)
            last = text(said.get("last_id"))
            has_more = said.get("has_more") is True and entries and len(models) < MAX_MODELS
            if not has_more or last is None:
                return Probe(models=tuple(models))
            path = f"/v1/models?limit={PAGE}&after_id={quote(last, safe='')}"

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """An empty purse is no mistake of the caller's, and 529 is no broken server."""
        if status == 402 or (status in (400, 403) and any(mark in text for mark in _UNPAID)):
            return Fault.CREDENTIALS
        return Fault.BUSY if status == 529 else classify_openai(status, body, text)


def read(entry: Mapping[str, Any]) -> ModelInfo:
    """One entry of the list, which has an id."""
    said = mapping(entry.get("capabilities"))
    told = {able: flag(mapping(said.get(word)).get("supported")) for word, able in _WORDS.items()}
    context = count(entry.get("max_input_tokens"))
    return ModelInfo(
        id=str(entry["id"]),
        context_length=context,
        max_context=context,
        max_output=count(entry.get("max_tokens")),
        can=_CAN | {able for able, yes in told.items() if yes},
        cannot=_CANNOT | {able for able, yes in told.items() if yes is False},
    )
