"""LM Studio and its headless `llmster`.

Read in its documentation (0.4.x) and issue tracker, not run:
- Any unknown path answers 200 with `{"error": "Unexpected endpoint or method. …"}`, so a status
  proves nothing: only the expected keys do, and a 200 may be an error (`classify` takes it).
  Rerank, audio, images and moderations are none of its paths: `lacks=DIRECT`.
- Three model lists, newest first: `/api/v1/models` (0.4.0: loaded instances with their context and
  parallelism), `/api/v0/models` (0.3.6: state), `/v1/models` (ids only).
- `max_context_length` is what the model can do; an instance is loaded with less, and a longer
  prompt is refused or aborts others, so the loaded instance's context counts. Of several instances
  the smallest one, since LM Studio chooses.
- With just-in-time loading a model that is not loaded can be asked for: listed, `loaded=False`.
- Of the models that were loaded just in time it keeps one by default, so two that take turns are
  loaded again and again; whether one that generates is spared is not known: `swaps=True`.
- `trained_for_tool_use: false` does not forbid tools: it prompts for them in a way of its own.
- Leaving clients stop a generation, its log says; whether it answers checks meanwhile is not known:
  to be learnt. Express closes idle connections after 5 s.
- `/api/v1/models/load` answers when the model is there, and each instance is unloaded by its id;
  what is loaded so has no time limit and is not thrown out for another. Older versions cannot.
- Models that LM Link brings in from another machine look local; nothing here tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_proxy.backends.ask import Answer, Inquiry
from nexus_proxy.backends.base import Adapter, Fault, ProbeFailed, Target, classify_openai
from nexus_proxy.backends.capabilities import DIRECT, GENERATES, NEEDS_GENERATION, understood
from nexus_proxy.backends.foreign import (
    OWNERS,
    count,
    flag,
    mapping,
    model_entries,
    objects,
    owner,
    text,
    texts,
)
from nexus_proxy.backends.loading import done
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

_V1 = "/api/v1/models"
_MISSING = ("no models loaded", "invalid model identifier", "model not found")
_CRASHED = ("has crashed", "unloaded or crashed", "failed to load", "model unloaded")
_TYPES = {
    "llm": GENERATES | {Capability.JSON_SCHEMA},
    "vlm": GENERATES | {Capability.JSON_SCHEMA, Capability.VISION},
    "embedding": frozenset({Capability.EMBEDDINGS}),
    "embeddings": frozenset({Capability.EMBEDDINGS}),
}


class LmStudio(Adapter):
    """LM Studio's server."""

    type = BackendType.LMSTUDIO
    title = "LM Studio"
    traits: ClassVar[Traits] = Traits(default_port=1234, swaps=True, lacks=DIRECT)
    health_path = "/lmstudio-greeting"
    loads_how = "LM Studio can be told to load models from version 0.4.0 on"

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """One GET for the newest model list, up to two more for older versions."""
        inquiry = Inquiry(client, target, self)
        newest = await inquiry.get(_V1)
        if newest.problem or newest.status in (401, 403):
            raise inquiry.refusal(newest)
        if entries := entries_v1(newest):
            models = tuple(map(_from_v1, entries))
            return Probe(models=models, slots=_slots(entries), loads_when_told=True)
        if entries := entries_v0(await inquiry.get("/api/v0/models")):
            return Probe(models=tuple(map(_from_v0, entries)))
        oldest = await inquiry.get("/v1/models")
        listed = model_entries(oldest.json)
        if listed is None:
            raise inquiry.refusal(oldest)
        if OWNERS.get(owner(listed) or "", self.type) is not self.type:
            raise ProbeFailed("another kind of server answers there now")
        return Probe(models=tuple(ModelInfo(id=str(entry["id"])) for entry in listed))

    async def load(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`."""
        done(await Inquiry(client, target, self).order(f"{_V1}/load", {"model": model.id}))

    async def unload(self, client: httpx.AsyncClient, target: Target, model: ModelInfo) -> None:
        """See `Adapter`: all instances of the model."""
        inquiry = Inquiry(client, target, self)
        listed = objects(done(await inquiry.get(_V1)).get("models"))
        for entry in listed:
            if entry.get("key") == model.id:
                for instance in objects(entry.get("loaded_instances")):
                    done(await inquiry.order(f"{_V1}/unload", {"instance_id": instance.get("id")}))

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """LM Studio answers 200, 400 or 404 to most of what goes wrong."""
        said = text.lower()
        if any(mark in said for mark in _MISSING):
            return Fault.MODEL_MISSING
        if any(mark in said for mark in _CRASHED):
            return Fault.BACKEND
        if "unexpected endpoint" in said:
            return Fault.UNSUPPORTED
        return classify_openai(400 if status == 200 else status, body, text)


def entries_v1(answer: Answer) -> list[Mapping[str, Any]]:
    """The models in an answer of `/api/v1/models`; empty where it is not LM Studio's."""
    listed = objects(mapping(answer.json).get("models"))
    return [
        entry
        for entry in listed
        if text(entry.get("key")) and isinstance(entry.get("loaded_instances"), list)
    ]


def entries_v0(answer: Answer) -> list[Mapping[str, Any]]:
    """The models in an answer of `/api/v0/models`; empty where it is not LM Studio's."""
    return [entry for entry in model_entries(answer.json) or [] if text(entry.get("state"))]


def _from_v1(entry: Mapping[str, Any]) -> ModelInfo:
    name = str(entry["key"])
    instances = objects(entry.get("loaded_instances"))
    contexts = [count(_config(instance).get("context_length")) for instance in instances]
    said = mapping(entry.get("capabilities"))
    can, cannot = _by_type(entry)
    if flag(said.get("trained_for_tool_use")):
        can |= {Capability.TOOLS}
    if said.get("reasoning"):
        can |= {Capability.THINKING}
    if flag(said.get("vision")) is not None and not cannot:
        can, cannot = _vision(can, cannot, sees=said["vision"])
    return ModelInfo(
        id=name,
        context_length=min((c for c in contexts if c), default=None),
        max_context=count(entry.get("max_context_length")),
        can=can,
        cannot=cannot,
        loaded=bool(instances),
        quantization=text(mapping(entry.get("quantization")).get("name")),
        parameters=text(entry.get("params_string")),
        size_bytes=count(entry.get("size_bytes")),
        aliases=tuple(i for i in (text(one.get("id")) for one in instances) if i and i != name),
    )


def _from_v0(entry: Mapping[str, Any]) -> ModelInfo:
    can, cannot = _by_type(entry)
    loaded = entry["state"] == "loaded"
    return ModelInfo(
        id=str(entry["id"]),
        context_length=count(entry.get("loaded_context_length")) if loaded else None,
        max_context=count(entry.get("max_context_length")),
        can=can | understood(texts(entry.get("capabilities"))) - cannot,
        cannot=cannot,
        loaded=loaded,
        quantization=text(entry.get("quantization")),
    )


def _by_type(entry: Mapping[str, Any]) -> tuple[frozenset[Capability], frozenset[Capability]]:
    can = _TYPES.get(text(entry.get("type")) or "", frozenset())
    return can, NEEDS_GENERATION if Capability.EMBEDDINGS in can else frozenset()


def _vision(
    can: frozenset[Capability], cannot: frozenset[Capability], *, sees: bool
) -> tuple[frozenset[Capability], frozenset[Capability]]:
    vision = frozenset({Capability.VISION})
    return (can | vision, cannot) if sees else (can - vision, cannot | vision)


def _slots(entries: Sequence[Mapping[str, Any]]) -> int | None:
    """How many requests the loaded chat models run at a time, all together; None if one of them
    does not tell."""
    parallel = [
        count(_config(instance).get("parallel"))
        for entry in entries
        if entry.get("type") != "embedding"
        for instance in objects(entry.get("loaded_instances"))
    ]
    known = [number for number in parallel if number]
    return sum(known) if known and len(known) == len(parallel) else None


def _config(instance: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(instance.get("config"))
