"""Where spend stands against its limit. Pure."""

from __future__ import annotations

from nexus_proxy.accounting.entries import ALL, Entry, Sums
from nexus_proxy.accounting.money import money
from nexus_proxy.config.model import BudgetAction, BudgetConfig
from nexus_proxy.errors import BudgetExceededError
from nexus_proxy.state import BudgetLevel, BudgetStanding
from nexus_proxy.store.schema import NANO


def over_limit(sums: Sums, nanousd: int | None, limit_usd: float) -> bool:
    """Whether `nanousd` more would pass the limit. A request of unknown price may go as long as
    something is left."""
    limit = round(limit_usd * NANO)
    used = sums.spent + sums.reserved
    return used >= limit if nanousd is None else used + nanousd > limit


def refusal(entry: Entry, key: str, sums: Sums, limit_usd: float) -> BudgetExceededError:
    """Why an entry cannot be put aside: for its API key `key`, or for all (`ALL`)."""
    used = f"{money(sums.spent / NANO)} are spent, {money(sums.reserved / NANO)} reserved"
    if key == ALL:
        return BudgetExceededError(
            f"this would pass the budget of {money(limit_usd)} for {entry.month}: {used}. "
            "Raise routing.budget.monthly_limit_usd, or use a local model."
        )
    return BudgetExceededError(
        f"the API key {key!r} has used its {money(limit_usd)} of {entry.month}: {used}. "
        "Raise its monthly_limit_usd, or wait for the next month."
    )


def standing_of(month: str, sums: Sums, budget: BudgetConfig) -> BudgetStanding:
    """The standing of a month."""
    limit = budget.monthly_limit_usd
    return BudgetStanding(
        month=month,
        spent_usd=sums.spent / NANO,
        reserved_usd=sums.reserved / NANO,
        unknown_requests=sums.unknown,
        limit_usd=limit,
        soft_percent=budget.soft_limit_percent,
        action=budget.hard_limit_action.value,
        level=level_of(sums.spent + sums.reserved, budget),
    )


def level_of(nanousd: int, budget: BudgetConfig) -> BudgetLevel:
    """How near to its limit a month is in which so much is used."""
    if budget.monthly_limit_usd is None:
        return BudgetLevel.OK
    limit = round(budget.monthly_limit_usd * NANO)
    if nanousd >= limit:
        return BudgetLevel.HARD
    return (
        BudgetLevel.SOFT if nanousd * 100 >= limit * budget.soft_limit_percent else BudgetLevel.OK
    )


def sentence(level: BudgetLevel, standing: BudgetStanding) -> str:
    """What people are told when spend has come to another level."""
    spent = money(standing.spent_usd)
    if standing.limit_usd is None:
        return f"no budget is set any more: {spent} for {standing.month}"
    figures = f"{spent} of {money(standing.limit_usd)} for {standing.month}"
    if level is BudgetLevel.OK:
        return f"spend is within the budget: {figures}"
    if level is BudgetLevel.SOFT:
        return f"spend nears the budget, what is local is preferred: {figures}"
    then = {
        BudgetAction.WARN: "nothing is blocked",
        BudgetAction.BLOCK_CLOUD: "what costs money is blocked",
        BudgetAction.BLOCK_ALL: "every request is blocked",
    }[BudgetAction(standing.action)]
    return f"the budget is spent, {then}: {figures}"
