"""Stage lifecycle: who is switched on, up, and not draining."""

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
        else:
            kept.append(candidate)
    return kept
