"""Models that push each other out of memory: whether a request would do that to a busy one.

Some backends load a model when a request asks for it, and throw another one out if there is no
room (`Traits.swaps`; each module states what was seen). llama.cpp's router kills what the victim
generates; Ollama and LM Studio load the two in turns. So such a request waits until the others
have drained. What is known of the room:

- a router tells how many models it keeps (`max_loaded`). It throws out the one that was used
  longest ago, busy or not, so any model may be hit as soon as all places are taken;
- elsewhere, models that were seen loaded side by side fit together; of others it is presumed that
  they do not, which costs at most the wait that `queue` allows.

Pure functions over what the registry knows. A check may be ten seconds old, so a model that runs
or was asked for last counts as loaded, and one that a check shows beside it, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from nexus_proxy.registry import Backend
from nexus_proxy.routing.types import Candidate
from nexus_proxy.state import ModelInfo
from nexus_proxy.wording import plural


def would_evict(candidate: Candidate, running: Mapping[str, int]) -> str | None:
    """Why the candidate's model must not be asked for now: `swap: qwen3:8b runs 1 request`.

    `running` counts the requests on its backend by model. None: it harms nobody, as far as is
    known.
    """
    backend, model = cast(Backend, candidate.backend), candidate.model
    if not backend.traits.swaps or model.loaded is None or model.id in running:
        return None
    busy = {name: number for name, number in running.items() if _is_local(backend, name)}
    if not busy or has_room(backend, model.id, busy):
        return None
    name, number = max(busy.items(), key=lambda item: item[1])
    return f"swap: {name} runs {plural(number, 'request')}"


def is_cold(backend: Backend, model: ModelInfo) -> bool:
    """Whether the model would have to be loaded first, as far as is known."""
    if not backend.traits.swaps or model.loaded is None or model.id in backend.running:
        return False
    latest = backend.latest_model
    if latest == model.id:
        return False
    if model.loaded:
        # A check that does not show the model asked for last is older than that request.
        newest = backend.models.get(latest) if latest is not None else None
        return (
            newest is not None
            and newest.loaded is False
            and not has_room(backend, model.id, {newest.id: 1})
        )
    return True


def has_room(backend: Backend, model: str, others: Mapping[str, int]) -> bool:
    """Whether the backend can hold `model` beside `others`."""
    wanted = {model, *others}
    if backend.max_loaded is not None:
        loaded = {info.id for info in backend.models.values() if info.loaded}
        return len(loaded | wanted) <= backend.max_loaded
    return any(wanted <= together for together in backend.seen_together)


def _is_local(backend: Backend, name: str) -> bool:
    """Whether a model takes memory there; one that runs elsewhere, or is not told of, does not."""
    info = backend.models.get(name)
    return info is not None and info.loaded is not None
