"""Where spend stands against its limit. Pure."""

from __future__ import annotations

from nexus_proxy.accounting.entries import ALL, Entry, Sums
from nexus_proxy.accounting.money import money
from nexus_proxy.config.model import BudgetAction, BudgetConfig
from nexus_proxy.errors import BudgetExceededError
from nexus_proxy.state import BudgetLevel, BudgetStanding
from nexus_proxy.store.schema import NANO

REST_SHARE, MOST_REST_SHARE = 0.01, 0.1
"""Parts of a limit: with `block_all` it counts as spent when less than the first is left, or than
requests usually put aside, up to the second. The rest is never spent: nothing fits into it."""


def over_limit(sums: Sums, nanousd: int | None, limit_usd: float) -> bool:
    """Whether `nanousd` more would pass the limit. A request of unknown price may go as long as
    something is left."""
    limit = round(limit_usd * NANO)
    used = sums.spent + sums.reserved
    return used >= limit if nanousd is None else used + nanousd > limit


def refusal(entry: Entry, key: str, sums: Sums, limit_usd: float) -> BudgetExceededError:
    """Why an entry cannot be put aside: for its API key `key`, or for all (`ALL`)."""
    left = max(0.0, limit_usd - (sums.spent + sums.reserved) / NANO)
    if key == ALL:
        has = f"the budget of {money(limit_usd)} for {entry.month} has {money(left)} left"
        raised = "routing.budget.monthly_limit_usd"
    else:
        has = f"the API key {key!r} has {money(left)} left of {money(limit_usd)} for {entry.month}"
        raised = "its monthly_limit_usd"
    if sums.reserved:
        has += f", beside {money(sums.reserved / NANO)} put aside for what runs"
    if entry.nanousd is None or not left:
        return BudgetExceededError(f"{has}. Raise {raised}, or use a local model.")
    cost = f"this may cost {money(entry.nanousd / NANO)}, and {has}"
    return BudgetExceededError(f"{cost}. Lower max_tokens, raise {raised}, or use a local model.")


def standing_of(month: str, sums: Sums, budget: BudgetConfig, usual: float) -> BudgetStanding:
    """The standing of a month in which requests usually put `usual` nano-USD aside."""
    limit = budget.monthly_limit_usd
    return BudgetStanding(
        month=month,
        spent_usd=sums.spent / NANO,
        reserved_usd=sums.reserved / NANO,
        unknown_requests=sums.unknown,
        limit_usd=limit,
        soft_percent=budget.soft_limit_percent,
        action=budget.hard_limit_action.value,
        level=level_of(sums, budget, usual),
    )


def level_of(sums: Sums, budget: BudgetConfig, usual: float) -> BudgetLevel:
    """How near to its limit a month is; `usual` as in `standing_of`."""
    if budget.monthly_limit_usd is None:
        return BudgetLevel.OK
    limit, used = round(budget.monthly_limit_usd * NANO), sums.spent + sums.reserved
    rest = 0.0
    if budget.hard_limit_action is BudgetAction.BLOCK_ALL:
        rest = max(limit * REST_SHARE, min(usual, limit * MOST_REST_SHARE))
    if used >= limit or sums.spent >= limit - rest:
        return BudgetLevel.HARD
    return BudgetLevel.SOFT if used * 100 >= limit * budget.soft_limit_percent else BudgetLevel.OK


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
