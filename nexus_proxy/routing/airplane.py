"""Stage airplane: who is not out there, while airplane mode is on.

It stands right before privacy and fails closed as well: a cloud by its kind, whatever zone it was
given; a model that its backend runs elsewhere; and all in zone `open`, whatever they are.
"""

from __future__ import annotations

from nexus_proxy.config.model import Zone
from nexus_proxy.routing.types import Candidate, Reject, Selection

_OPEN = Zone.OPEN
REASON = "airplane mode is on: nothing is sent to clouds"
FIX = "nexus airplane off"


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that airplane mode keeps traffic from."""
    if not selection.airplane:
        return candidates
    kept = []
    for candidate in candidates:
        if is_away(candidate.backend.traits.is_cloud, candidate.zone):
            reject(candidate, REASON, FIX)
        else:
            kept.append(candidate)
    return kept


def is_away(is_cloud: bool, zone: Zone) -> bool:
    """Whether airplane mode keeps traffic from a backend of such a kind and zone, or from one of
    its models, whose zone may be another."""
    return is_cloud or zone is _OPEN
