"""exo: one model spread over several machines.

Read in its source of June 2026, not run:
- `/v1/models` is the whole catalogue, downloaded or not; a model can be used only while `/state`
  shows an instance of it, else it answers 404 `No instance found for model …`. So only those are
  listed here.
- In `/state`, instances and runners are objects with one key, their class: `{"MlxRingInstance":
  {"shardAssignments": {"modelId": …}}}`, `{"RunnerReady": {…}}`. The ids of an instance's runners
  are the keys of `runnerToShard`, or the second items of `shards` in newer versions.
- A client that leaves cancels its command. Runners are processes of their own, but nobody has seen
  whether the API goes on answering under load: to be learnt.
- The catalogue's `context_length` is what the model was trained for; what a request can use depends
  on the machines' memory and is not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from nexus_proxy.backends.ask import Inquiry
from nexus_proxy.backends.base import Adapter, ProbeFailed, Target
from nexus_proxy.backends.capabilities import NEEDS_GENERATION, understood
from nexus_proxy.backends.foreign import OWNERS, count, mapping, model_entries, owner, text, texts
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo, Probe, Traits

if TYPE_CHECKING:
    import httpx

_READY = frozenset({"RunnerLoaded", "RunnerReady", "RunnerRunning"})


class Exo(Adapter):
    """An exo cluster, by the API of any of its nodes."""

    type = BackendType.EXO
    title = "exo"
    traits: ClassVar[Traits] = Traits(default_port=52415)
    health_path = "/node_id"

    async def probe(self, client: httpx.AsyncClient, target: Target) -> Probe:
        """Two GETs at once: the catalogue, and the state that says what of it runs."""
        inquiry = Inquiry(client, target, self)
        listing, state = await asyncio.gather(inquiry.get("/v1/models"), inquiry.get("/state"))
        entries = model_entries(listing.json) if listing.status == 200 else None
        if entries is None:
            raise inquiry.refusal(listing)
        if OWNERS.get(owner(entries) or "", self.type) is not self.type:
            raise ProbeFailed("another kind of server answers there now")
        if not state.ok:
            return Probe(models=None, note="does not show which models run")
        running = _running(mapping(state.json))
        return Probe(
            models=tuple(
                _model(entry, loaded=running[str(entry["id"])])
                for entry in entries
                if entry["id"] in running
            )
        )


def _running(state: Mapping[str, Any]) -> dict[str, bool]:
    """Model id -> whether some instance of it has all its runners ready."""
    ready = {
        name
        for name, status in mapping(state.get("runners")).items()
        if _READY & mapping(status).keys()
    }
    found: dict[str, bool] = {}
    for instance in mapping(state.get("instances")).values():
        for body in mapping(instance).values():
            shards = mapping(mapping(body).get("shardAssignments"))
            if model := text(shards.get("modelId")):
                whole = all(runner in ready for runner in _runners(shards))
                found[model] = found.get(model, False) or whole
    return found


def _runners(shards: Mapping[str, Any]) -> Iterator[str]:
    yield from mapping(shards.get("runnerToShard"))
    listed = shards.get("shards")
    for shard in listed if isinstance(listed, list) else ():
        if isinstance(shard, list) and len(shard) > 1 and isinstance(shard[1], str):
            yield shard[1]


def _model(entry: Mapping[str, Any], *, loaded: bool) -> ModelInfo:
    tasks = texts(entry.get("tasks"))
    can = understood(texts(entry.get("capabilities")))
    if "TextGeneration" in tasks:
        can |= {Capability.CHAT}
    megabytes = count(entry.get("storage_size_megabytes"))
    return ModelInfo(
        id=str(entry["id"]),
        max_context=count(entry.get("context_length")),
        can=can,
        cannot=NEEDS_GENERATION if tasks and "TextGeneration" not in tasks else frozenset(),
        loaded=loaded,
        quantization=text(entry.get("quantization")),
        size_bytes=megabytes * 1024 * 1024 if megabytes else None,
    )
