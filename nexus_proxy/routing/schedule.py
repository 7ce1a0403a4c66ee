"""Stage schedule: who goes first.

`smart` scores each candidate from 0 to 100: the weighted mean of

- priority: 100 − priority, at least 0;
- load: 100 × (1 − in flight ÷ slots), with four slots assumed where the number is unknown;
- latency: 100 ÷ (1 + first-token seconds), from real traffic; 50 where there is none yet;

less 30 while the backend loads its model, 10 if the model is known not to be loaded, and 2 for
each need that the backend says nothing about. Ties go to the fewest in flight, then to luck.

Whatever the strategy, three things come first: a pinned backend, then those that did not ask to
be left alone (Retry-After), then those with a free slot.
"""

from __future__ import annotations

from collections.abc import Callable

from nexus_proxy.config.model import Strategy
from nexus_proxy.routing.types import Candidate, Reject, Selection
from nexus_proxy.state import BackendState

ASSUMED_SLOTS = 4
UNKNOWN_LATENCY = 50.0
LOADING_MALUS = 30.0
COLD_MALUS = 10.0
UNKNOWN_MALUS = 2.0

PARTS = ("priority", "load", "latency", "malus")
"""Names of the parts of a score, in the order of `Candidate.parts`."""

_LOADING = BackendState.LOADING

Order = Callable[[Selection, "list[Candidate]"], "list[Candidate]"]


def order(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those at their configured limit; order the rest."""
    able = []
    now, pinned = selection.facts.now, selection.pinned
    all_alike = pinned is None
    for candidate in candidates:
        if at_limit(candidate):
            limit = candidate.backend.max_concurrent
            reject(candidate, f"all of its {limit} slots are taken", None)
        else:
            able.append(candidate)
            if candidate.backend.busy_until > now or is_full(candidate):
                all_alike = False
    ordered = _ORDERS[selection.strategy](selection, able)
    if not all_alike:
        ordered.sort(
            key=lambda c: (c.backend.name != pinned, c.backend.busy_until > now, is_full(c))
        )
    return ordered


def at_limit(candidate: Candidate) -> bool:
    """Whether it has as many of our requests as the configuration allows."""
    backend = candidate.backend
    return backend.max_concurrent is not None and backend.in_flight >= backend.max_concurrent


def is_full(candidate: Candidate) -> bool:
    """Whether all known slots are taken, by our requests and by others'."""
    backend = candidate.backend
    slots = backend.slots
    return slots is not None and backend.in_flight + backend.busy_elsewhere >= slots


def _smart(selection: Selection, candidates: list[Candidate]) -> list[Candidate]:
    weights = selection.weights
    by_priority, by_load, by_latency = weights["priority"], weights["load"], weights["latency"]
    total = (by_priority + by_load + by_latency) or 1
    for candidate in candidates:
        backend = candidate.backend
        busy = backend.in_flight + backend.busy_elsewhere
        seen = backend.first_token_ms.get(candidate.model.id)
        priority = 100.0 - backend.priority if backend.priority < 100 else 0.0
        slots = backend.slots or ASSUMED_SLOTS
        load = 100.0 - 100.0 * busy / slots if busy < slots else 0.0
        latency = UNKNOWN_LATENCY if seen is None else 100.0 / (1.0 + seen / 1000.0)
        malus = _malus(selection, candidate)
        candidate.parts = (priority, load, latency, 0.0 - malus)
        candidate.score = (
            priority * by_priority + load * by_load + latency * by_latency
        ) / total - malus
    luck = selection.facts.luck
    if len(candidates) < 2:
        return candidates
    return sorted(candidates, key=lambda c: (-c.score, c.backend.in_flight, luck()))


def _malus(selection: Selection, candidate: Candidate) -> float:
    model, needs = candidate.model, selection.facts.needs
    malus = 0.0 if needs <= model.can else UNKNOWN_MALUS * len(needs - model.can)
    if candidate.backend.health is _LOADING:
        malus += LOADING_MALUS
    if model.loaded is False:
        malus += COLD_MALUS
    return malus


def _round_robin(selection: Selection, candidates: list[Candidate]) -> list[Candidate]:
    ring = sorted(candidates, key=lambda c: c.backend.name)
    start = selection.facts.turn % len(ring) if ring else 0
    return ring[start:] + ring[:start]


def _priority_only(selection: Selection, candidates: list[Candidate]) -> list[Candidate]:
    luck = selection.facts.luck
    return sorted(candidates, key=lambda c: (c.backend.priority, c.backend.in_flight, luck()))


def _random(selection: Selection, candidates: list[Candidate]) -> list[Candidate]:
    luck = selection.facts.luck
    return sorted(candidates, key=lambda _c: luck())


def _least_busy(selection: Selection, candidates: list[Candidate]) -> list[Candidate]:
    luck = selection.facts.luck
    return sorted(candidates, key=lambda c: (c.backend.in_flight, c.backend.priority, luck()))


_ORDERS: dict[Strategy, Order] = {
    Strategy.SMART: _smart,
    Strategy.ROUND_ROBIN: _round_robin,
    Strategy.PRIORITY_ONLY: _priority_only,
    Strategy.RANDOM: _random,
    Strategy.LEAST_BUSY: _least_busy,
}
