"""Running the stages: one decision per model, and the plan over a model's fallback chain."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from nexus_proxy.config.model import Strategy, Zone
from nexus_proxy.errors import UnknownModelError
from nexus_proxy.routing import STAGES
from nexus_proxy.routing.resolve import Resolution, resolve
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.schedule import PARTS, is_full
from nexus_proxy.routing.types import (
    Candidate,
    Catalogue,
    Demand,
    Rejection,
    RequestFacts,
    Routable,
    Selection,
)
from nexus_proxy.state import CandidateView, DecisionView, ModelInfo, RejectionView

_SMART = Strategy.SMART.value


class Decision(Struct, frozen=True, kw_only=True):
    """The whole record for one model: who may serve it, in which order, and why not the others.

    `left` holds how many candidates each stage left, in the order of STAGES.
    """

    facts: RequestFacts
    resolution: Resolution
    demand: Demand
    strategy: str
    candidates: tuple[Candidate, ...]
    rejections: tuple[Rejection, ...]
    left: tuple[int, ...]
    is_fallback: bool
    pinned: str | None

    def route_reason(self, chosen: Candidate, others: int) -> str:
        """Why `chosen` serves after `others` failed, in the words of `X-Nexus-Route-Reason`."""
        if self.is_fallback:
            return "fallback"
        if others > 0:
            return "failover"
        if chosen.backend.name == self.pinned:
            return "pinned"
        if len(self.candidates) > 1 and self.strategy == _SMART and self._is_home(chosen):
            return "affinity"
        if any(rejection.stage == "privacy" for rejection in self.rejections):
            return "privacy-requirement"
        priority = chosen.backend.priority
        for candidate in self.candidates:
            if candidate.backend.priority < priority and is_full(candidate):
                return "capacity-overflow"
        return "capability-match"

    def _is_home(self, candidate: Candidate) -> bool:
        return self.facts.affinity == (candidate.backend.name, candidate.model.id)

    def still_allows(self, candidate: Candidate) -> bool:
        """Whether a candidate of this decision, made a while ago, may be asked now, as far as
        operators can have changed that. Its health is not asked: trying will show it."""
        backend, lowest = candidate.backend, self.demand.min_tier
        return (
            backend.accepted
            and backend.enabled
            and not backend.drained
            and zone_of(backend, candidate.model) >= self.demand.zone
            and (lowest is None or backend.tier >= lowest)
        )

    def view(self, route_reason: str | None = None) -> DecisionView:
        """The record as a frozen value, for people and programs."""
        return DecisionView(
            model_asked=self.facts.model_asked,
            model=self.resolution.model,
            path=self.resolution.path,
            required_zone=self.demand.zone,
            required_tier=self.demand.min_tier,
            needs=tuple(sorted(need.value for need in self.facts.needs)),
            prompt_tokens=self.facts.prompt_tokens,
            strategy=self.strategy,
            route_reason=route_reason,
            stages=tuple(
                (stage.name, f"{stage.question}: {_count(left)} left")
                for stage, left in zip(STAGES, self.left, strict=True)
            ),
            candidates=tuple(
                CandidateView(
                    backend=c.backend.name,
                    model=c.served_id,
                    score=round(c.score, 1),
                    parts={n: round(part, 1) for n, part in zip(PARTS, c.parts, strict=False)},
                )
                for c in self.candidates
            ),
            rejections=tuple(
                RejectionView(
                    backend=r.backend, model=r.model, stage=r.stage, reason=r.reason, fix=r.fix
                )
                for r in self.rejections
            ),
        )


def plan(facts: RequestFacts, catalogue: Catalogue, rules: Rules) -> Iterator[Decision]:
    """Decisions in the order in which they should be tried: the model, its fallback chain, and,
    if the caller is flexible, any other model of at least the same tier.

    Each later decision inherits the demands of all earlier ones, so no hop can loosen privacy.
    Raises `UnknownModelError` at the first step if nobody lists the model; unknown links of a
    chain are passed over.
    """
    resolution = resolve(facts.model_asked, catalogue, rules)
    demand = rules.demand(resolution.path, Demand(zone=facts.zone))
    yield decide(facts, resolution, demand, catalogue, rules)
    if facts.strict or resolution.forced is not None or not demand.fallback_allowed:
        return
    tried = {resolution.model}
    for name in rules.chain(resolution.path):
        try:
            link = resolve(name, catalogue, rules)
        except UnknownModelError:
            continue
        if link.model in tried:
            continue
        tried.add(link.model)
        demand = rules.demand(link.path, demand)
        onward = Resolution(link.model, (*resolution.path, *link.path), link.forced)
        yield decide(facts, onward, demand, catalogue, rules, is_fallback=True)
    if facts.flexible:
        yield from _equivalents(facts, resolution, demand, catalogue, rules, tried)


def decide(
    facts: RequestFacts,
    resolution: Resolution,
    demand: Demand,
    catalogue: Catalogue,
    rules: Rules,
    *,
    is_fallback: bool = False,
) -> Decision:
    """Run all stages over the backends that list one model."""
    pinned = _pinned(resolution, catalogue)
    name, forced = resolution.model, resolution.forced
    home = None
    if facts.embeds and forced is None:
        home = catalogue.embedder(resolution.path, pinned)
    selection = Selection(
        facts,
        demand,
        resolution.model,
        pinned,
        rules.strategy,
        rules.weights,
        catalogue.airplane,
        home,
    )
    candidates = [
        Candidate(backend, model, name, Zone.OPEN if model.remote else backend.zone)
        for backend, model in catalogue.offers(name)
        if forced is None or forced == backend.name
    ]
    rejections = _Rejections()
    reject = rejections.add
    left: list[int] = []
    for stage in facts.stages or STAGES:
        rejections.stage = stage.name
        candidates = stage.apply(selection, candidates, reject)
        left.append(len(candidates))
    return Decision(
        facts=facts,
        resolution=resolution,
        demand=demand,
        strategy=rules.strategy_name,
        candidates=tuple(candidates),
        rejections=tuple(rejections.all),
        left=tuple(left),
        is_fallback=is_fallback,
        pinned=pinned,
    )


class _Rejections:
    """Collects what the stages remove, under the stage that runs."""

    __slots__ = ("all", "stage")

    def __init__(self) -> None:
        self.stage = ""
        self.all: list[Rejection] = []

    def add(self, candidate: Candidate, reason: str, fix: str | None) -> None:
        backend, model = candidate.backend.name, candidate.served_id
        self.all.append(Rejection(backend, model, self.stage, reason, fix))


def zone_of(backend: Routable, model: ModelInfo) -> Zone:
    """How closed a backend is for one of its models; one that runs elsewhere is in `open`."""
    return Zone.OPEN if model.remote else backend.zone


def _pinned(resolution: Resolution, catalogue: Catalogue) -> str | None:
    pins = catalogue.pins
    if not pins:
        return None
    return next((pins[name] for name in reversed(resolution.path) if name in pins), None)


def _equivalents(
    facts: RequestFacts,
    resolution: Resolution,
    demand: Demand,
    catalogue: Catalogue,
    rules: Rules,
    tried: set[str],
) -> Iterator[Decision]:
    tiers = [backend.tier for backend in catalogue.serving(resolution.model)]
    floor = max([*tiers, demand.min_tier or 1])
    demand = demand._replace(min_tier=floor)
    for name in sorted(set(catalogue.model_ids()) - tried):
        onward = Resolution(name, (*resolution.path, name))
        demand = rules.demand((name,), demand)
        yield decide(facts, onward, demand, catalogue, rules, is_fallback=True)


def _count(left: int) -> str:
    return "nobody" if left == 0 else str(left)
