"""Stage budget: what may be spent, on this request and this month.

Three things remove a candidate: a spent budget (`block_cloud`: those that may cost money;
`block_all`: everybody, and a little earlier, see `accounting.budget`), an estimate above what is
left of it, and an estimate above what the request may cost, or none at all: a price that nobody
knows is above any limit. Nearing the limit removes nobody: the schedule takes `SOFT_MALUS` off the
score of those that cost, so that what is local wins.

The last dollar itself is decided by the ledger, when money is put aside: here, two requests may see
the same standing.
"""

from __future__ import annotations

from nexus_proxy.routing.types import Candidate, Purse, Reject, Selection
from nexus_proxy.state import BudgetLevel, BudgetStanding

SOFT_MALUS = 200.0
"""More than a score can make up for: it goes to 100, and the other maluses take some 50."""


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
            rest = _left(standing)
            return (
                f"the budget of ${_plain(standing.limit_usd or 0)} for {standing.month} is spent"
                + (f" but for ${_plain(rest)}" if rest > 0 else ""),
                "raise routing.budget.monthly_limit_usd, or wait for the next month",
            )
    if (last := _last_dollar(purse, candidate)) is not None:
        return last
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


def _last_dollar(purse: Purse, candidate: Candidate) -> tuple[str, str] | None:
    """Why what is left does not do for a candidate: the ledger would refuse it, and somebody who
    costs nothing may be there to serve."""
    standing = purse.standing
    if standing.limit_usd is None or standing.action == "warn":
        return None
    left = _left(standing)
    estimate = purse.estimate(candidate) or 0.0
    if estimate == 0.0 or estimate <= left:
        return None
    reason = (
        f"the budget of ${_plain(standing.limit_usd)} for {standing.month} is spent but for "
        f"${_plain(left)}, and it may cost ${_plain(estimate)}"
    )
    fix = "lower max_tokens, raise routing.budget.monthly_limit_usd, or wait for the next month"
    return reason, fix


def _left(standing: BudgetStanding) -> float:
    return (standing.limit_usd or 0.0) - standing.spent_usd - standing.reserved_usd


def _plain(usd: float) -> str:
    """Both figures may be far below a cent, and must not look alike."""
    return f"{usd:.6f}".rstrip("0").rstrip(".")


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)
