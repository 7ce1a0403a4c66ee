"""Stage budget: what may be spent, on this request and this month.

Three things remove a candidate: a spent budget (`block_cloud`: those that may cost money;
`block_all`: everybody), and an estimate above what the request may cost, or none at all: a price
that nobody knows is above any limit. Nearing the limit removes nobody: the schedule takes
`SOFT_MALUS` off the score of those that cost, so that what is local wins.

The last dollar itself is not decided here, where two requests may see the same standing, but by the
ledger, when money is put aside.
"""

from __future__ import annotations

from nexus_proxy.routing.types import Candidate, Purse, Reject, Selection
from nexus_proxy.state import BudgetLevel

SOFT_MALUS = 60.0
"""More than priority and load together can make up for."""


def keep(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
    """Remove those that cost more than may be spent."""
    purse = selection.facts.purse
    if purse is None:
        return candidates
    most = _least(purse.max_usd, selection.demand.max_usd)
    kept = []
    for candidate in candidates:
        if reason := _objection(purse, most, candidate):
            reject(candidate, *reason)
        else:
            kept.append(candidate)
    return kept


def malus(selection: Selection, candidate: Candidate) -> float:
    """What the schedule takes off the score of a candidate that costs, when money is short."""
    purse = selection.facts.purse
    if purse is None or purse.standing.level is BudgetLevel.OK:
        return 0.0
    return SOFT_MALUS if purse.estimate(candidate) != 0.0 else 0.0


def _objection(
    purse: Purse, most: float | None, candidate: Candidate
) -> tuple[str, str | None] | None:
    standing = purse.standing
    if standing.level is BudgetLevel.HARD and standing.action != "warn":
        costs = purse.estimate(candidate) != 0.0
        if costs or standing.action == "block_all":
            return (
                f"the budget of ${standing.limit_usd or 0:g} for {standing.month} is spent",
                "raise routing.budget.monthly_limit_usd, or wait for the next month",
            )
    if most is None:
        return None
    estimate = purse.estimate(candidate)
    if estimate is None:
        return (
            f"its price is not known, and the request may cost ${most:.4f} at most",
            "say it in [[prices]], or leave X-Nexus-Max-Cost and max_cost_per_request out",
        )
    if estimate > most:
        return (
            f"it may cost ${estimate:.4f}, and ${most:.4f} is the most",
            "lower max_tokens, or raise X-Nexus-Max-Cost or max_cost_per_request",
        )
    return None


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
