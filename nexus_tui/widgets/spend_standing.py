"""The month in words: what is spent, how sure that is, where it is heading, what happens then."""

from __future__ import annotations

import calendar
from collections.abc import Iterator, Sequence
from datetime import date

from nexus_proxy.accounting.money import gauge, money
from nexus_proxy.config.model import BudgetAction
from nexus_proxy.state import BudgetLevel, BudgetStanding, SpendRow, SpendSummary
from nexus_proxy.wording import plural
from nexus_tui.format import Cell, Line, Mark, count
from nexus_tui.safe_text import clean
from nexus_tui.widgets.spend_chart import ESTIMATED, FREE, MEASURED, UNKNOWN

_WIDEST_GAUGE = 80
_DUST = 1e-9
"""USD that sums of floats may differ by."""
_LEVELS = {
    BudgetLevel.OK: Mark("●", "within the limit", "good"),
    BudgetLevel.SOFT: Mark("▲", "past the soft limit", "warn"),
    BudgetLevel.HARD: Mark("✕", "at the limit", "bad"),
}
_AT_THE_LIMIT = {
    BudgetAction.WARN: "you are told, nothing is refused",
    BudgetAction.BLOCK_CLOUD: "what costs money is refused (402)",
    BudgetAction.BLOCK_ALL: "every request is refused (402)",
}


def costs_anything(budget: BudgetStanding, spend: SpendSummary) -> bool:
    """Whether there is money to tell of: a limit, or requests that cost something."""
    return budget.limit_usd is not None or any(
        day.requests > day.free_requests for day in spend.days
    )


def standing_lines(
    budget: BudgetStanding, spend: SpendSummary, width: int, *, is_shared: bool = False
) -> Sequence[Line]:
    """At most five lines about the month, of which the last is a legend, too. `is_shared`: other
    replicas spend under the same limit, and what they spent is in no bar and no row."""
    return [
        _spent(budget, spend),
        *_against_the_limit(budget, spend, width),
        _heading(budget, spend),
        _provenance(spend.days, budget.spent_usd if is_shared else 0.0),
    ]


def month_name(month: str) -> str:
    """`June 2025` for `2025-06`."""
    year, number = month.split("-")
    return f"{calendar.month_name[int(number)]} {year}"


def _spent(budget: BudgetStanding, spend: SpendSummary) -> Line:
    spent, limit = money(budget.spent_usd), ""
    if budget.limit_usd is None:
        spent += " spent"
    else:
        limit = f" of {money(budget.limit_usd)}"
    aside = f" + {money(budget.reserved_usd)} put aside" if budget.reserved_usd else ""
    unknown = f" + {budget.unknown_requests}?" if budget.unknown_requests else ""
    level = Cell("no limit", "muted") if budget.limit_usd is None else _LEVELS[budget.level].cell
    return (
        Cell(f"{month_name(spend.month)}  ", "strong"),
        Cell(f"{spent}{aside}{unknown}{limit}  "),
        level,
    )


def _against_the_limit(budget: BudgetStanding, spend: SpendSummary, width: int) -> Iterator[Line]:
    limit = budget.limit_usd
    if limit is None:
        yield (
            Cell("monthly_limit_usd = 20", "info"),
            Cell(" under ", "muted"),
            Cell("[routing.budget]", "info"),
            Cell(" in the configuration sets a limit.", "muted"),
        )
        return
    used = budget.spent_usd + budget.reserved_usd
    share = f" {used / limit * 100:.0f}%" if limit else ""
    bar = gauge(used, limit, budget.soft_percent, min(_WIDEST_GAUGE, width - 6), spend.forecast_usd)
    yield (Cell(bar, _LEVELS[budget.level].tone), Cell(share, "strong"))
    soft = f"At {money(limit * budget.soft_percent / 100)} ┊ local is preferred"
    then = _AT_THE_LIMIT[BudgetAction(budget.action)]
    hard = f"At {money(limit)} {then}"
    if budget.level is BudgetLevel.HARD:
        hard = f"Now {then}"
    elif budget.level is BudgetLevel.SOFT:
        soft = "Now ┃ local is preferred"
    lines = {
        BudgetLevel.OK: f"{soft}. {hard}.",
        BudgetLevel.SOFT: f"{soft}. {hard}.",
        BudgetLevel.HARD: f"{hard}, until the month ends or the limit is raised.",
    }
    yield (Cell(lines[budget.level]),)


def _heading(budget: BudgetStanding, spend: SpendSummary) -> Line:
    if spend.forecast_usd is None:
        return (Cell("◇ no forecast yet: it takes three whole days of this month", "muted"),)
    year, month = map(int, spend.month.split("-"))
    end = date(year, month, calendar.monthrange(year, month)[1])
    text = f"◇ about {money(spend.forecast_usd)} by {end:%B} {end.day} (estimated)"
    limit = budget.limit_usd
    if limit is not None and spend.forecast_usd >= limit:
        return (Cell(text), Cell("  ✕ over the limit", "bad"))
    if limit is not None and spend.forecast_usd * 100 >= limit * budget.soft_percent:
        return (Cell(text), Cell("  ▲ past the soft limit", "warn"))
    return (Cell(text),)


def _provenance(days: Sequence[SpendRow], of_all: float) -> Line:
    measured = sum(day.usd_measured for day in days)
    estimated = sum(day.usd_estimated for day in days)
    unknown = sum(day.unknown_requests for day in days)
    free = sum(day.free_requests for day in days)
    elsewhere = of_all - measured - estimated
    parts: list[Line] = [
        (MEASURED, Cell(f" {money(measured)} measured")),
        (ESTIMATED, Cell(f" ~{money(estimated)} estimated")) if estimated else (),
        (Cell(f"+ {money(elsewhere)} by other replicas"),) if elsewhere > _DUST else (),
        (UNKNOWN, Cell(f" {count(unknown)} unknown, in no sum")) if unknown else (),
        (Cell(FREE, "muted"), Cell(f" {count(free)} local")) if free else (),
    ]
    line: Line = ()
    for part in filter(None, parts):
        line = (*line, *((Cell("  "),) if line else ()), *part)
    return line


def nothing_lines(spend: SpendSummary, config_path: str | None) -> Sequence[Line]:
    """What to say while nothing costs anything: why, and what would."""
    free = sum(day.free_requests for day in spend.days)
    where = "the configuration" if config_path is None else clean(config_path)
    local = f"{plural(free, 'request')} ran on your own machines: free, and counted below."
    return [
        (Cell(f"{month_name(spend.month)}: nothing has cost anything.", "strong"),),
        (Cell(local if free else "No request has ended this month."),),
        (),
        (Cell("Clouds cost money. Prices of OpenAI, Anthropic and Google are known; others, and"),),
        (Cell(f"a limit for the month, go into {where}:"),),
        (Cell("    [[prices]]                        [routing.budget]", "info"),),
        (Cell('    model = "llama-3.3-70b*"          monthly_limit_usd = 20', "info"),),
        (Cell("    input_usd_per_million = 0.59", "info"),),
        (Cell("    output_usd_per_million = 0.79", "info"),),
    ]
