"""Google's Gemini API.

From its documentation and others' reports:
- Chat is asked for in its native API (`dialects.gemini` says why), embeddings in its
  OpenAI-compatible one. They take the key in different headers.
- `/v1beta/models` comes in pages and tells contexts, longest answers and what each model serves.
- A key that is no key is 400 with a sentence, not 401; a country or account that may not use the
  API is 400 `FAILED_PRECONDITION`. Both count as `CREDENTIALS`.
- There are no rate limit headers; 429 says in its body how long to wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from nexus_proxy.backends.ask import Inquiry
from nexus_proxy.backends.base import Adapter, Fault, Target, classify_openai
from nexus_proxy.backends.capabilities import NEEDS_GENERATION
from nexus_proxy.backends.foreign import MAX_MODELS, count, flag, mapping, objects, text, texts
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.gemini import Gemini
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

PAGE = 1000
_PREFIX = "models/"
_ABLE = frozenset({Capability.TOOLS, Capability.VISION, Capability.AUDIO, Capability.JSON_SCHEMA})
"""What each Gemini can; the Gemma models that Google serves beside them differ."""
_REFUSED = ("api key not valid", "api_key_invalid", "failed_precondition")


class Google(Adapter):
    """generativelanguage.googleapis.com."""

    type = BackendType.GOOGLE
    title = "Google Gemini"
    traits: ClassVar[Traits] = Traits(
        is_cloud=True, idle_reuse_seconds=60.0, answers_while_busy=True
    )
    tongue: ClassVar[Tongue] = Gemini()
    embeddings_path = "/v1beta/openai/embeddings"
    chat_path = "/v1beta/openai/chat/completions"
    completions_path = "/v1beta/openai/completions"
    health_path = "/v1beta/models"

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """The pages of `/v1beta/models`. Raises `ProbeFailed` without them."""
        key = {"x-goog-api-key": target.api_key} if target.api_key else {}
        bare = Target(base_url=target.base_url)
        inquiry = Inquiry(client, bare, self, key)
        models: list[ModelInfo] = []
        path = f"/v1beta/models?pageSize={PAGE}"
        while True:
            answer = await inquiry.get(path)
            listed = mapping(answer.json).get("models")
            if answer.status != 200 or not isinstance(listed, list):
                raise inquiry.refusal(answer)
            models += [model for entry in objects(listed) if (model := read(entry)) is not None]
            token = text(mapping(answer.json).get("nextPageToken"))
            if token is None or not listed or len(models) >= MAX_MODELS:
                return Probe(models=tuple(models))
            path = f"/v1beta/models?pageSize={PAGE}&pageToken={quote(token, safe='')}"

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """A key that is none is no mistake of the caller's."""
        if status == 400 and any(mark in text.lower() for mark in _REFUSED):
            return Fault.CREDENTIALS
        return classify_openai(status, body, text)


def read(entry: Mapping[str, Any]) -> ModelInfo | None:
    """One entry of the list; None for what neither generates nor embeds."""
    name, serves = text(entry.get("name")), texts(entry.get("supportedGenerationMethods"))
    id_ = (name or "").removeprefix(_PREFIX)
    if not id_ or id_ == name:
        return None
    context = count(entry.get("inputTokenLimit"))
    if "generateContent" in serves:
        thinks = {Capability.THINKING} if flag(entry.get("thinking")) else frozenset()
        able = _ABLE if id_.startswith("gemini-") else frozenset()
        can = frozenset({Capability.CHAT}) | thinks | able
        cannot = frozenset({Capability.COMPLETIONS, Capability.EMBEDDINGS, Capability.RERANK})
    elif "embedContent" in serves:
        can, cannot = frozenset({Capability.EMBEDDINGS}), NEEDS_GENERATION
    else:
        return None
    return ModelInfo(
        id=id_,
        context_length=context,
        max_context=context,
        max_output=count(entry.get("outputTokenLimit")),
        can=can,
        cannot=cannot,
    )
