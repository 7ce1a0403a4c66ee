"""Stage quality: who has not failed too often, and how well the others did.

Removes backends that were left out for their faults with this model (`nexus_proxy.quality` says
when). Two exceptions:

- One request at a time may try a backend again once its pause is over. `is_trial` tells such a
  candidate, and the schedule sends it first: by its score it would never be asked, and so never
  come back. If it fails again, the request moves on to the next candidate like any other.
- If all candidates are left out, none is: there is nobody better to leave them out for, and
  an answer from a bad backend is worth more than a refusal.
"""

from __future__ import annotations

from nexus_proxy.routing.standing import Standing
from nexus_proxy.routing.types import Candidate, Reject, Selection

QUALITY_WEIGHT = 20
"""Weight of `part` in the score of the schedule, beside `routing.weights`: as much as latency."""
UNKNOWN_QUALITY = 50.0
"""Part of one that nothing is known of yet: neither a merit nor a fault."""


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that are left out for their faults, unless that would leave nobody."""
    for candidate in candidates:
        standing = candidate.backend.quality.get(candidate.model.id)
        if standing is not None and standing.excluded_until:
            return _without_excluded(selection.facts.now, candidates, reject)
    return candidates


def _without_excluded(now: float, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    kept, left_out = [], []
    for candidate in candidates:
        standing = _standing(candidate)
        if standing is None or not standing.excluded_until or is_trial(candidate, now):
            kept.append(candidate)
        else:
            left_out.append((candidate, standing))
    if not kept:
        return candidates
    for candidate, standing in left_out:
        reject(candidate, _reason(candidate, standing, now), None)
    return kept


def is_trial(candidate: Candidate, now: float) -> bool:
    """Whether it is left out, and this request may be the one that tries it again."""
    standing = _standing(candidate)
    return (
        standing is not None
        and standing.excluded_until != 0.0
        and standing.excluded_until <= now
        and standing.sent == 0
    )


def part(candidate: Candidate) -> float:
    """Its part of the score in the schedule, 0 to 100."""
    standing = _standing(candidate)
    return UNKNOWN_QUALITY if standing is None or standing.score is None else standing.score


def _standing(candidate: Candidate) -> Standing | None:
    return candidate.backend.quality.get(candidate.model.id)


def _reason(candidate: Candidate, standing: Standing, now: float) -> str:
    wait = standing.excluded_until - now
    when = f"is tried again in {wait:.0f} s" if wait > 0 else "is being tried again just now"
    return f"it failed too often with {candidate.model.id} and {when}"
