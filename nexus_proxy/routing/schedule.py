"""Stage schedule: who goes first.

`smart` scores each candidate from 0 to 100: the weighted mean of

- priority: 100 − priority, at least 0;
- load: 100 × (1 − in flight ÷ slots), with four slots assumed where the number is unknown;
- latency: 100 ÷ (1 + first-token seconds), from real traffic; 50 where there is none yet;
- quality: see `quality.score`; 50 where too little is known;

plus `AFFINITY_BONUS` for the backend that has read the conversation, while it has a slot, or, for a
conversation that nobody has read, up to `ROOM_BONUS` for local ones that hold few of them, since
conversations on one slot push each other's prefix out; less 30 while the backend loads its model,
10 if the model is known not to be loaded, 2 for each need that the backend says nothing about, and
`budget.SOFT_MALUS` for one that costs while money is short.
Ties go to the fewest in flight, then to luck.

A model that an operator unloaded is not loaded again by a request that another backend can serve.

Whatever the strategy, four things come first: a pinned backend, then those that did not ask to be
left alone (Retry-After), then those with a free slot, then one that failed and is tried again.
"""

from __future__ import annotations

from collections.abc import Callable

from nexus_proxy.config.model import Strategy
from nexus_proxy.routing.budget import malus as short_of_money
from nexus_proxy.routing.quality import QUALITY_WEIGHT, is_trial, part
from nexus_proxy.routing.types import Candidate, Reject, Routable, Selection
from nexus_proxy.state import BackendState

ASSUMED_SLOTS = 4
UNKNOWN_LATENCY = 50.0
LOADING_MALUS = 30.0
COLD_MALUS = 10.0
UNKNOWN_MALUS = 2.0

AFFINITY_BONUS = 25.0
ROOM_BONUS = 10.0

PARTS = ("priority", "load", "latency", "quality", "affinity", "malus")
"""Names of the parts of a score, in the order of `Candidate.parts`."""

_LOADING = BackendState.LOADING

Order = Callable[[Selection, "list[Candidate]"], "list[Candidate]"]


def order(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Order all of them. Busy ones stay, at the end: the queue may wait for them."""
    for candidate in candidates:
        if candidate.backend.parked:
            candidates = _not_parked(candidates, reject)
            break
    now, pinned = selection.facts.now, selection.pinned
    may_try = selection.facts.affinity is None
    all_alike = pinned is None
    for candidate in candidates:
        backend = candidate.backend
        if backend.busy_until > now or is_full(candidate) or is_trial(candidate, now):
            all_alike = False
            break
    ordered = _ORDERS[selection.strategy](selection, candidates)
    if not all_alike:
        ordered.sort(
            key=lambda c: (
                c.backend.name != pinned,
                c.backend.busy_until > now,
                is_full(c),
                not (may_try and is_trial(c, now)),
            )
        )
    return ordered


def _not_parked(candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Those of which nobody wants that they load the model again; all, if there are no others."""
    kept, parked = list[Candidate](), list[Candidate]()
    for candidate in candidates:
        model = candidate.model
        is_parked = model.loaded is False and model.id in candidate.backend.parked
        (parked if is_parked else kept).append(candidate)
    if not kept:
        return candidates
    for candidate in parked:
        fix = f"nexus models load {candidate.model.id} {candidate.backend.name}"
        reject(candidate, "unloaded by an operator", fix)
    return kept


def is_full(candidate: Candidate) -> bool:
    """Whether all known slots are taken, by our requests and by others'."""
    backend = candidate.backend
    slots = backend.slots
    return slots is not None and backend.in_flight + backend.busy_elsewhere >= slots


def _smart(selection: Selection, candidates: list[Candidate]) -> list[Candidate]:
    weights, home = selection.weights, selection.facts.affinity
    by_priority, by_load, by_latency = weights["priority"], weights["load"], weights["latency"]
    total = by_priority + by_load + by_latency + QUALITY_WEIGHT
    for candidate in candidates:
        backend, model = candidate.backend, candidate.model
        busy = backend.in_flight + backend.busy_elsewhere
        seen = backend.first_token_ms.get(model.id)
        slots = backend.slots or ASSUMED_SLOTS
        priority = 100.0 - backend.priority if backend.priority < 100 else 0.0
        load = 100.0 - 100.0 * busy / slots if busy < slots else 0.0
        latency = UNKNOWN_LATENCY if seen is None else 100.0 / (1.0 + seen / 1000.0)
        quality = part(candidate)
        if home is None:
            bonus = _room(backend, slots)
        else:
            is_home = busy < slots and home == (backend.name, model.id)
            bonus = AFFINITY_BONUS if is_home else 0.0
        malus = _malus(selection, candidate)
        candidate.parts = (priority, load, latency, quality, bonus, 0.0 - malus)
        candidate.score = (
            bonus
            - malus
            + (
                priority * by_priority
                + load * by_load
                + latency * by_latency
                + quality * QUALITY_WEIGHT
            )
            / total
        )
    luck = selection.facts.luck
    if len(candidates) < 2:
        return candidates
    return sorted(candidates, key=lambda c: (-c.score, c.backend.in_flight, luck()))


def _room(backend: Routable, slots: int) -> float:
    if backend.traits.is_cloud or backend.conversations >= slots:
        return 0.0
    return ROOM_BONUS - ROOM_BONUS * backend.conversations / slots


def _malus(selection: Selection, candidate: Candidate) -> float:
    model, needs = candidate.model, selection.facts.needs
    malus = 0.0 if needs <= model.can else UNKNOWN_MALUS * len(needs - model.can)
    if candidate.backend.health is _LOADING:
        malus += LOADING_MALUS
    if model.loaded is False:
        malus += COLD_MALUS
    if selection.facts.purse is not None:
        malus += short_of_money(selection, candidate)
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
