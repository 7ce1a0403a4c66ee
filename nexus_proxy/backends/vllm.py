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
  lack the chat route, others the embeddings route: 404 `{"detail": "Not Found"}`. Rerank and audio
  hang on the model and the version in the same way, so they are asked for: nothing in `lacks`.
- Its answers in Responses are fully shaped; a release without the route says 404. What it does not
  take there is what only OpenAI has (namespaces of tools, web search), nor do many templates take a
  developer's message [read], so such requests are translated. Messages are translated always: as
  they are, Claude Code's changing first line would make the prefix cache useless.
- `/version` and `/load` are open; the key guards `/v1` [read].
- It serves one model, which can be put to sleep (`--enable-sleep-mode` on a GPU): its weights go to
  the memory of the machine, the GPU's is free. `/sleep`, `/wake_up` and `/is_sleeping` exist with
  `VLLM_SERVER_DEV_MODE=1` only. No request wakes it, so it gets none while it sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_proxy.backends.ask import Inquiry
from nexus_proxy.backends.base import Adapter, Fault, ProbeFailed, Target, classify_openai
from nexus_proxy.backends.foreign import OWNERS, count, flag, mapping, model_entries, owner, text
from nexus_proxy.backends.loading import done, until
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
    loads_all = True
    loads_how = (
        "vLLM can be put to sleep and woken only with VLLM_SERVER_DEV_MODE=1 and "
        "--enable-sleep-mode"
    )
    native: ClassVar[Mapping[Endpoint, str]] = {Endpoint.RESPONSES: "/v1/responses"}

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """GETs at once: `/v1/models`, and for good measure `/version`, `/load`, `/is_sleeping`."""
        inquiry = Inquiry(client, target, self)
        listing, version, load, sleep = await asyncio.gather(
            inquiry.get("/v1/models"),
            inquiry.hint("/version"),
            inquiry.hint("/load"),
            inquiry.hint("/is_sleeping"),
        )
        entries = model_entries(listing.json) if listing.status == 200 else None
        if entries is None:
            raise inquiry.refusal(listing)
        if OWNERS.get(owner(entries) or "", self.type) is not self.type:
            raise ProbeFailed("another kind of server answers there now")
        running = mapping(load.json).get("server_load")
        sleeps = flag(mapping(sleep.json).get("is_sleeping")) if sleep.ok else None
        return Probe(
            models=_models(entries, loaded=not sleeps),
            version=text(mapping(version.json).get("version")),
            busy=running if type(running) is int and running >= 0 else None,
            note="sleeps, and no request wakes it" if sleeps else None,
            loads_when_told=sleeps is not None,
        )

    def takes(self, endpoint: Endpoint, body: bytes) -> bool:
        """Only plain requests: those of Codex are translated."""
        return endpoint in self.native and is_plain(body)

    async def load(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`: wake it."""
        await self._change(client, target, "/wake_up", sleeping=False)

    async def unload(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`: put it to sleep, with its weights kept in the machine's memory."""
        await self._change(client, target, "/sleep?level=1", sleeping=True)

    async def _change(
        self, client: httpx.AsyncClient, target: Target, path: str, *, sleeping: bool
    ) -> None:
        inquiry = Inquiry(client, target, self)
        done(await inquiry.order(path, {}))

        async def is_so() -> bool:
            return done(await inquiry.get("/is_sleeping")).get("is_sleeping") is sleeping

        await until(is_so)

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """What this server was not started for, another one may do."""
        if status == 400 and any(mark in text.lower() for mark in _LACKS):
            return Fault.UNSUPPORTED
        return classify_openai(status, body, text)


def _models(entries: Sequence[Mapping[str, Any]], *, loaded: bool) -> tuple[ModelInfo, ...]:
    contexts = {str(entry["id"]): count(entry.get("max_model_len")) for entry in entries}
    parents = {str(entry["id"]): text(entry.get("parent")) for entry in entries}
    return tuple(
        ModelInfo(
            id=name,
            context_length=context or contexts.get(parents[name] or ""),
            can=frozenset({Capability.JSON_SCHEMA}),
            loaded=loaded,
        )
        for name, context in contexts.items()
    )
