"""Stage privacy: who is closed enough. Fails closed: what is not known to be allowed is not."""

from __future__ import annotations

from nexus_proxy.routing.types import Candidate, Reject, Selection


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that are more open than the request's zone."""
    required = selection.demand.zone
    lowest = required.rank
    kept = []
    for candidate in candidates:
        if candidate.zone.rank >= lowest:
            kept.append(candidate)
            continue
        reject(
            candidate,
            f"its zone is {candidate.zone.label}, the request needs {required.label}",
            f"nexus backends zone {candidate.backend.name} {required.label}, if that is true",
        )
    return kept
