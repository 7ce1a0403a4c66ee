"""vLLM.

Observed on 0.32.0 [run]:
- A client that leaves stops the generation within 0.15 s, streaming or not, and the connection may
  be reused after a stream; uvicorn closes idle ones after 5 s.
- It queues without limit, sends headers at once, and its HTTP process answers while the engine
  works: `answers_while_busy=True`.
- `max_model_len` is what a request can use; the length that the model was trained for is not told.
  LoRA adapters are further ids with a `parent`.
- `/load` counts running and queued requests, if `--enable-server-load-tracking` is on; else it
  says 0. The number of sequences at a time is not told.
- Structured output is built in. Tools depend on a start flag that nothing shows. Pooling models
  lack the chat route, others the embeddings route: 404 `{"detail": "Not Found"}`.
- Its answers in Responses are fully shaped; a release without the route says 404. What it does not
  take there is what only OpenAI has (namespaces of tools, web search), nor do many templates take a
  developer's message [read], so such requests are translated. Messages are translated always: as
  they are, Claude Code's changing first line would make the prefix cache useless.
- `/version` and `/load` are open; the key guards `/v1` [read].
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_proxy.backends.ask import Inquiry
from nexus_proxy.backends.base import Adapter, Fault, ProbeFailed, Target, classify_openai
from nexus_proxy.backends.foreign import OWNERS, count, mapping, model_entries, owner, text
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.native import is_plain
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

_LACKS = ("is not a multimodal model", "tool choice requires", "does not support")


class Vllm(Adapter):
    """vLLM's OpenAI-compatible server."""

    type = BackendType.VLLM
    title = "vLLM"
    traits: ClassVar[Traits] = Traits(default_port=8000, answers_while_busy=True)
    health_path = "/health"
    native: ClassVar[Mapping[Endpoint, str]] = {Endpoint.RESPONSES: "/v1/responses"}

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """Three GETs at once: `/v1/models`, and for good measure `/version` and `/load`."""
        inquiry = Inquiry(client, target, self)
        listing, version, load = await asyncio.gather(
            inquiry.get("/v1/models"), inquiry.hint("/version"), inquiry.hint("/load")
        )
        entries = model_entries(listing.json) if listing.status == 200 else None
        if entries is None:
            raise inquiry.refusal(listing)
        if OWNERS.get(owner(entries) or "", self.type) is not self.type:
            raise ProbeFailed("another kind of server answers there now")
        running = mapping(load.json).get("server_load")
        return Probe(
            models=_models(entries),
            version=text(mapping(version.json).get("version")),
            busy=running if type(running) is int and running >= 0 else None,
        )

    def takes(self, endpoint: Endpoint, body: bytes) -> bool:
        """Only plain requests: those of Codex are translated."""
        return endpoint in self.native and is_plain(body)

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """What this server was not started for, another one may do."""
        if status == 400 and any(mark in text.lower() for mark in _LACKS):
            return Fault.UNSUPPORTED
        return classify_openai(status, body, text)


def _models(entries: Sequence[Mapping[str, Any]]) -> tuple[ModelInfo, ...]:
    contexts = {str(entry["id"]): count(entry.get("max_model_len")) for entry in entries}
    parents = {str(entry["id"]): text(entry.get("parent")) for entry in entries}
    return tuple(
        ModelInfo(
            id=name,
            context_length=context or contexts.get(parents[name] or ""),
            can=frozenset({Capability.JSON_SCHEMA}),
            loaded=True,
        )
        for name, context in contexts.items()
    )
