"""Money: the month's budget, and what was spent on what."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class BudgetLevel(str, Enum):
    """How near spend is to its limit."""

    OK = "ok"
    SOFT = "soft"
    """Past the soft limit: what is local is preferred."""
    HARD = "hard"


class BudgetStanding(Struct, frozen=True, kw_only=True):
    """The money of one month, in USD. `unknown_requests` have no known price and are in no sum.
    `limit_usd` None: no limit. `action` is what happens at `hard`. For `level`, what is put aside
    is as good as spent."""

    month: str
    spent_usd: float
    reserved_usd: float
    unknown_requests: int
    limit_usd: float | None
    soft_percent: float
    action: str
    level: BudgetLevel


class SpendRow(Struct, frozen=True, kw_only=True):
    """Requests of one day, backend, model or API key (`label`), money in USD. `free_requests` ran
    on one's own machines; `unknown_requests` have no known price and are in no sum."""

    label: str
    requests: int
    usd_measured: float
    usd_estimated: float
    usd_reserved: float
    unknown_requests: int
    free_requests: int
    prompt_tokens: int
    completion_tokens: int


class SpendReport(Struct, frozen=True, kw_only=True):
    """A month (`YYYY-MM`) of spend. `forecast_usd` is for the whole month, estimated; None with too
    little behind it, or for a month that is over. `elsewhere_usd` is what other replicas have spent
    and put aside in the month in force; it counts against the limit and is in no row."""

    month: str
    by: str
    rows: tuple[SpendRow, ...]
    spent_usd: float
    reserved_usd: float
    unknown_requests: int
    forecast_usd: float | None
    limit_usd: float | None = None
    elsewhere_usd: float = 0.0
    soft_percent: float | None = None
    """Share of the limit from which on what is local is preferred."""


class SpendSummary(Struct, frozen=True, kw_only=True):
    """A month (`YYYY-MM`) of spend as the screen shows it. Days are in order, up to `today`
    (`YYYY-MM-DD`), zeros included; the others dearest first, and bounded. `forecast_usd` as in
    `SpendReport`."""

    month: str
    today: str
    days: tuple[SpendRow, ...]
    backends: tuple[SpendRow, ...]
    models: tuple[SpendRow, ...]
    keys: tuple[SpendRow, ...]
    forecast_usd: float | None
