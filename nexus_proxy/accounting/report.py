"""What a month has cost so far: by day, backend, model or API key, and where it is heading.

The forecast is the mean per day so far times the days that are left, added to what is booked;
with two weeks or more behind it, the mean is taken per weekday, since use at work and at weekends
differs. Days before the first that the file knows of say nothing. From fewer than three days
nothing is forecast. It is always an estimate.
"""

from __future__ import annotations

import calendar
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from datetime import date

from nexus_proxy.accounting.entries import sums
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import SpendReport, SpendRow, SpendSummary
from nexus_proxy.store.schema import NANO

BY = ("day", "backend", "model", "key")
LEAST_DAYS = 3
WEEKDAYS_FROM = 14
MOST_ROWS = 100
"""Backends, models or keys in a summary, which goes to every screen; those after them are one row.
A report has them all."""

_ROWS = """
    SELECT label, SUM(requests) AS requests, SUM(measured) / 1e9 AS usd_measured,
        SUM(estimated) / 1e9 AS usd_estimated, SUM(reserved) / 1e9 AS usd_reserved,
        SUM(unknown) AS unknown_requests, SUM(free) AS free_requests,
        SUM(prompt) AS prompt_tokens, SUM(completion) AS completion_tokens
    FROM (
        SELECT {by} AS label, 1 AS requests,
            IIF(state != 'reserved' AND provenance = 'measured', IFNULL(nanousd, 0), 0) AS measured,
            IIF(state != 'reserved' AND provenance = 'estimated', IFNULL(nanousd, 0), 0)
                AS estimated,
            IIF(state = 'reserved', IFNULL(nanousd, 0), 0) AS reserved,
            nanousd IS NULL AS unknown, 0 AS free,
            IFNULL(prompt_tokens, 0) AS prompt, IFNULL(completion_tokens, 0) AS completion
        FROM entries WHERE day BETWEEN :first AND :last
        UNION ALL
        SELECT {by}, requests, 0, 0, 0, 0, requests, prompt_tokens, completion_tokens
        FROM usage WHERE day BETWEEN :first AND :last
    )
    GROUP BY label
"""


def checked(month: str, by: str) -> tuple[str, str]:
    """The same, if they can be used. Raises `InvalidRequestError`."""
    try:
        if len(month) != 7:
            raise ValueError
        date.fromisoformat(f"{month}-01")
    except ValueError:
        raise InvalidRequestError(f"{month[:20]!r} is no month; write it like 2026-11") from None
    if by not in BY:
        raise InvalidRequestError(f"spend is by {', '.join(BY)}, not by {by[:20]!r}")
    return month, by


def spend(connection: sqlite3.Connection, month: str, by: str, today: str) -> SpendReport:
    """The report for a month (`YYYY-MM`), in rows by one of `BY`. `today` is `YYYY-MM-DD`."""
    total = sums(connection, month)
    return SpendReport(
        month=month,
        by=by,
        rows=_rows(connection, month, by, today),
        spent_usd=total.spent / NANO,
        reserved_usd=total.reserved / NANO,
        unknown_requests=total.unknown,
        forecast_usd=_forecast(connection, month, today),
    )


def summary(connection: sqlite3.Connection, month: str, today: str) -> SpendSummary:
    """The same by each of `BY` at once, for the screen. `today` is `YYYY-MM-DD`."""
    days, backends, models, keys = (_rows(connection, month, by, today) for by in BY)
    return SpendSummary(
        month=month,
        today=today,
        days=days,
        backends=_bounded(backends),
        models=_bounded(models),
        keys=_bounded(keys),
        forecast_usd=_forecast(connection, month, today),
    )


def _rows(connection: sqlite3.Connection, month: str, by: str, today: str) -> tuple[SpendRow, ...]:
    """Days in order, with those on which nothing ran; all else dearest first."""
    found = connection.execute(_ROWS.format(by=by), _span(month))
    names = [column[0] for column in found.description]
    rows = {row[0]: SpendRow(**dict(zip(names, row, strict=True))) for row in found}
    if by != "day":
        return tuple(sorted(rows.values(), key=_dearest_first))
    for number in range(1, _days_so_far(month, today) + 1):
        day = f"{month}-{number:02}"
        rows.setdefault(day, _together(day, ()))
    return tuple(rows[day] for day in sorted(rows))


def _bounded(rows: tuple[SpendRow, ...]) -> tuple[SpendRow, ...]:
    if len(rows) <= MOST_ROWS:
        return rows
    shown, rest = rows[: MOST_ROWS - 1], rows[MOST_ROWS - 1 :]
    return (*shown, _together(f"({len(rest):,} more)", rest))


def _together(label: str, rows: Sequence[SpendRow]) -> SpendRow:
    return SpendRow(
        label=label,
        requests=sum(row.requests for row in rows),
        usd_measured=sum(row.usd_measured for row in rows),
        usd_estimated=sum(row.usd_estimated for row in rows),
        usd_reserved=sum(row.usd_reserved for row in rows),
        unknown_requests=sum(row.unknown_requests for row in rows),
        free_requests=sum(row.free_requests for row in rows),
        prompt_tokens=sum(row.prompt_tokens for row in rows),
        completion_tokens=sum(row.completion_tokens for row in rows),
    )


def _span(month: str) -> dict[str, str]:
    """First and last day that a month may have. Not `LIKE`, which uses no index."""
    return {"first": f"{month}-01", "last": f"{month}-31"}


def _dearest_first(row: SpendRow) -> tuple[object, ...]:
    return (-row.usd_measured - row.usd_estimated, -row.requests, row.label)


def _days_so_far(month: str, today: str) -> int:
    if today[:7] == month:
        return int(today[8:])
    year, number = map(int, month.split("-"))
    return calendar.monthrange(year, number)[1] if today > month else 0


def _forecast(connection: sqlite3.Connection, month: str, today: str) -> float | None:
    if today[:7] != month:
        return None
    first, last = _first_day(connection, month), int(today[8:]) - 1  # today is not over
    so_far = last - first + 1
    if so_far < LEAST_DAYS:
        return None
    year, number = map(int, month.split("-"))
    by_day: dict[int, int] = {
        int(day[8:]): nanousd or 0
        for day, nanousd in connection.execute(
            "SELECT day, SUM(nanousd) FROM entries WHERE day BETWEEN :first AND :last GROUP BY day",
            _span(month),
        )
    }
    seen: dict[int, list[int]] = defaultdict(list)
    for day in range(first, last + 1):
        weekday = date(year, number, day).weekday() if so_far >= WEEKDAYS_FROM else 0
        seen[weekday].append(by_day.get(day, 0))
    means = {weekday: sum(spent) / len(spent) for weekday, spent in seen.items()}
    expected = float(sum(by_day.get(day, 0) for day in range(1, last + 1)))
    for day in range(last + 1, calendar.monthrange(year, number)[1] + 1):
        weekday = date(year, number, day).weekday() if so_far >= WEEKDAYS_FROM else 0
        expected += max(means[weekday], by_day.get(day, 0))
    return expected / NANO


def _first_day(connection: sqlite3.Connection, month: str) -> int:
    """The day of the month from which on it is known what was spent."""
    (first,) = connection.execute(
        "SELECT MIN(day) FROM (SELECT MIN(day) AS day FROM entries"
        " UNION ALL SELECT MIN(day) FROM usage)"
    ).fetchone()
    return int(first[8:]) if first is not None and first.startswith(month) else 1
