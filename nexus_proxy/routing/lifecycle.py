"""Stage lifecycle: who is switched on, up, not draining, and not asleep."""

from __future__ import annotations

from nexus_proxy.routing.types import Candidate, Reject, Selection
from nexus_proxy.state import BackendState

_DOWN = BackendState.DOWN
"""Looked up once: before Python 3.12 the look-up of an enum's member costs more than the rest."""


def keep(_selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that take no requests now."""
    kept = []
    for candidate in candidates:
        backend = candidate.backend
        if not backend.accepted:
            reject(candidate, "not accepted yet", f"nexus backends accept {backend.name}")
        elif not backend.enabled:
            reject(candidate, "disabled", f"set enabled = true for {backend.name}")
        elif backend.health is _DOWN:
            reject(candidate, f"down: {backend.reason or 'no answer'}", f"start {backend.name}")
        elif backend.drained:
            reject(candidate, "draining", f"nexus backends resume {backend.name}")
        elif candidate.model.loaded is False and _sleeps(candidate):
            reject(candidate, "asleep", f"nexus models load {candidate.model.id} {backend.name}")
        else:
            kept.append(candidate)
    return kept


def _sleeps(candidate: Candidate) -> bool:
    """Whether no request makes it load the model, and nobody does so now."""
    backend = candidate.backend
    is_woken = backend.traits.swaps or candidate.model.id in backend.claims
    return backend.loads_when_told and not is_woken
