"""Stage tier: who is good enough for the request's policy."""

from __future__ import annotations

from nexus_proxy.routing.types import Candidate, Reject, Selection


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those below the lowest tier that the policy allows."""
    lowest = selection.demand.min_tier
    if lowest is None:
        return candidates
    kept = []
    for candidate in candidates:
        if candidate.backend.tier >= lowest:
            kept.append(candidate)
            continue
        reject(
            candidate,
            f"its tier is {candidate.backend.tier}, the policy needs {lowest}",
            f"set tier = {lowest} for {candidate.backend.name}, if that is true",
        )
    return kept
