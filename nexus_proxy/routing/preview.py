"""Who would serve a model now, of a decision that is made for nobody."""

from __future__ import annotations

from collections.abc import Iterable

from nexus_proxy.config.model import Strategy
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.routing.schedule import is_full
from nexus_proxy.routing.types import Candidate
from nexus_proxy.state import Preview

_BY_LOT = frozenset((Strategy.RANDOM.value, Strategy.ROUND_ROBIN.value))
"""Strategies by which all have the same claim."""


def preview(plan: Iterable[Decision]) -> Preview:
    """Who shares the first place of the first decision that leaves anybody."""
    for decision in plan:
        if decision.candidates:
            first, *others = decision.candidates
            sharing = [first, *(one for one in others if _is_even(first, one, decision))]
            return Preview(
                first=tuple((one.backend.name, one.served_id) for one in sharing),
                is_fallback=decision.is_fallback,
            )
    return Preview()


def _is_even(first: Candidate, other: Candidate, decision: Decision) -> bool:
    """Whether nothing but luck, or whose turn it is, put one before the other."""
    if first.backend.name == decision.pinned or is_full(first) is not is_full(other):
        return False
    return decision.strategy in _BY_LOT or _claim(first) == _claim(other)


def _claim(candidate: Candidate) -> tuple[float, int, int]:
    backend = candidate.backend
    return candidate.score, backend.in_flight, backend.priority
