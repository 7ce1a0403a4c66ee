"""Ollama.

Read in its source (0.33.0), not run:
- A client that leaves cancels its generation, streaming or not. Runners are processes of their own,
  so it answers while it generates. Go's server does not close idle connections.
- `/api/ps` shows the context that a loaded model was given; beyond it the oldest messages are
  dropped without a word. `/api/chat` takes `num_ctx`, up to what the model was trained for:
  `sizes_context=True`. Before a model is loaded, nobody knows: `context_length=None`, and
  `max_context` is what it was trained for.
- Newer versions list `capabilities` in `/api/tags`; else `/api/show` tells, one model at a time.
  The list is complete, but any model embeds. Asking a model without `tools`, `thinking` or `vision`
  for it is a 400.
- Models with a `remote_host`, or whose tag ends in `cloud`, are run by ollama.com: `remote=True`.
- `OLLAMA_NUM_PARALLEL` (1 by default) is not told, nor is the length of the queue.
- To make room for a model it throws out others, once those have answered what they run; requests
  for a loaded model pass by the one that waits for its load, for ever if they keep coming; and how
  much fits is not told: `swaps=True`. What `/api/ps` shows together, fits together.
- A request without a prompt loads the model and answers when it is there; with `keep_alive: -1` it
  stays until the next request, after which Ollama's own `OLLAMA_KEEP_ALIVE` counts again. What only
  embeds is refused by `/api/generate` and loaded by `/api/embed`. `keep_alive: 0` unloads.
- It has `/v1/audio/transcriptions`, and newer versions make images; rerank, speech and moderations
  it has not.
- Its check of the Host header lets IP addresses and `localhost` pass, so none is made up.

What `/api/show` says hangs on the digest alone, so it is kept per server and digest; this is the
one thing that an adapter remembers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_proxy.backends.ask import Inquiry
from nexus_proxy.backends.base import Adapter, Fault, Target, classify_openai
from nexus_proxy.backends.capabilities import GENERATES, denied_by, understood
from nexus_proxy.backends.foreign import count, mapping, objects, text, texts
from nexus_proxy.backends.loading import done, until
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

SHOWS_PER_PROBE = 16
"""Models that one check asks `/api/show` about; the next check goes on with others."""
SHOWS_AT_ONCE = 4
SHOWS_KEPT = 1024
_REFUSABLE = frozenset({Capability.TOOLS, Capability.VISION, Capability.THINKING, Capability.AUDIO})


class Ollama(Adapter):
    """Ollama's server."""

    type = BackendType.OLLAMA
    title = "Ollama"
    traits: ClassVar[Traits] = Traits(
        default_port=11434,
        answers_while_busy=True,
        swaps=True,
        lacks=frozenset({Capability.RERANK, Capability.SPEECH, Capability.MODERATION}),
        sizes_context=True,
    )
    health_path = "/api/version"

    def in_context(self, tokens: int) -> OllamaTongue:
        """See `Adapter.in_context`."""
        return OllamaTongue(tokens)

    def __init__(self) -> None:
        self._shown: dict[tuple[str, str], Mapping[str, Any]] = {}

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """Three GETs at once, then `/api/show` for models that nothing is known of yet."""
        inquiry = Inquiry(client, target, self)
        tags, running, version = await asyncio.gather(
            inquiry.get("/api/tags"), inquiry.hint("/api/ps"), inquiry.hint("/api/version")
        )
        listed = mapping(tags.json).get("models")
        if tags.status != 200 or not isinstance(listed, list):
            raise inquiry.refusal(tags)
        entries = [entry for entry in objects(listed) if _name(entry)]
        await self._show(inquiry, target.base_url, entries)
        loaded = {_name(entry): entry for entry in objects(mapping(running.json).get("models"))}
        return Probe(
            models=tuple(
                _model(entry, self._detail(target.base_url, entry), loaded, told=running.ok)
                for entry in entries
            ),
            version=text(mapping(version.json).get("version")),
            loads_when_told=True,
        )

    async def load(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`."""
        embeds = Capability.EMBEDDINGS in model.can and not GENERATES & model.can
        path = "/api/embed" if embeds else "/api/generate"
        what = {"model": model.id, "keep_alive": -1, "stream": False}
        inquiry = Inquiry(client, target, self)
        done(await inquiry.order(path, {**what, "input": []} if embeds else what))

    async def unload(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`."""
        inquiry = Inquiry(client, target, self)
        what = {"model": model.id, "keep_alive": 0, "stream": False}
        done(await inquiry.order("/api/generate", what))

        async def is_gone() -> bool:
            running = done(await inquiry.get("/api/ps"))
            return all(_name(entry) != model.id for entry in objects(running.get("models")))

        await until(is_gone)

    async def _show(
        self, inquiry: Inquiry, base_url: str, entries: Sequence[Mapping[str, Any]]
    ) -> None:
        wanted = [
            entry
            for entry in entries
            if _lacks_detail(entry) and (base_url, _digest(entry)) not in self._shown
        ][:SHOWS_PER_PROBE]
        turn = asyncio.Semaphore(SHOWS_AT_ONCE)

        async def show(entry: Mapping[str, Any]) -> None:
            async with turn:
                answer = await inquiry.hint("/api/show", post={"model": _name(entry)})
            if answer.ok:
                self._shown[base_url, _digest(entry)] = _kept(mapping(answer.json))

        await asyncio.gather(*map(show, wanted))
        for key in list(self._shown)[: max(0, len(self._shown) - SHOWS_KEPT)]:
            del self._shown[key]

    def _detail(self, base_url: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._shown.get((base_url, _digest(entry)), {})

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """What this model or version cannot do, another backend's may."""
        if status == 400 and "does not support" in text:
            return Fault.UNSUPPORTED
        return classify_openai(status, body, text)


def _name(entry: Mapping[str, Any]) -> str | None:
    return text(entry.get("model")) or text(entry.get("name"))


def _digest(entry: Mapping[str, Any]) -> str:
    return text(entry.get("digest")) or _name(entry) or ""


def _lacks_detail(entry: Mapping[str, Any]) -> bool:
    details = mapping(entry.get("details"))
    return not texts(entry.get("capabilities")) or not count(details.get("context_length"))


def _kept(shown: Mapping[str, Any]) -> Mapping[str, Any]:
    """The two facts that are needed of a `/api/show`, which may hold a licence and a template."""
    info = mapping(shown.get("model_info"))
    trained = count(info.get(f"{info.get('general.architecture')}.context_length"))
    return {"capabilities": list(texts(shown.get("capabilities"))), "context_length": trained}


def _model(
    entry: Mapping[str, Any],
    shown: Mapping[str, Any],
    loaded: Mapping[str | None, Mapping[str, Any]],
    *,
    told: bool,
) -> ModelInfo:
    name = _name(entry) or ""
    details, running = mapping(entry.get("details")), loaded.get(name)
    can, cannot = _capabilities(
        texts(entry.get("capabilities")) or texts(shown.get("capabilities"))
    )
    remote = is_remote(entry)
    return ModelInfo(
        id=name,
        context_length=count(running.get("context_length")) if running else None,
        max_context=count(details.get("context_length")) or count(shown.get("context_length")),
        can=can,
        cannot=cannot,
        loaded=None if remote or not told else running is not None,
        remote=remote,
        quantization=text(details.get("quantization_level")),
        parameters=text(details.get("parameter_size")),
        size_bytes=count(entry.get("size")),
        vram_bytes=count(running.get("size_vram")) if running else None,
    )


def is_remote(entry: Mapping[str, Any]) -> bool:
    """Whether ollama.com runs the model. Decides about privacy, so the name alone is enough."""
    _, colon, tag = (_name(entry) or "").lower().rpartition(":")
    by_name = bool(colon) and (tag == "cloud" or tag.endswith("-cloud"))
    return by_name or bool(entry.get("remote_host") or entry.get("remote_model"))


def _capabilities(words: Sequence[str]) -> tuple[frozenset[Capability], frozenset[Capability]]:
    if not words:
        return frozenset(), frozenset()
    can = understood(words)
    if can & GENERATES:
        can |= {Capability.JSON_SCHEMA}
    return can, (_REFUSABLE - can) | denied_by(can)
