"""At which hours of the day a model is asked for. Pure functions over counts by hour.

An hour of the day is a peak if, over the days that are looked at,

- it had at least `LEAST_RATIO` times the requests of an average hour;
- it was busier than its own day's average on at least `LEAST_STEADY` of the days, so that one
  afternoon of a thousand requests is none;
- its sum lies `LEAST_SIGMA` standard deviations above what chance would give it. Requests that come
  evenly are spread over the hours as a Poisson distribution, and twice the root of that, with 3/8
  added, as a normal one of deviation 1 also where they are few (Anscombe, Biometrika 35, 1948);
  with the two others a false peak came once in 30,000 hours of generated months.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta, tzinfo

from msgspec import Struct

HOUR = 3600
HOURS = 24
LEAST_RATIO = 2.0
LEAST_STEADY = 0.6
LEAST_SIGMA = 3.5
TREND_DAYS = 7

LEAST_DAYS = 6
"""Days of a kind that are looked at: two weekends are none to go by."""

EVERY_DAY, WORKDAYS, WEEKENDS = "every day", "Monday to Friday", "Saturday and Sunday"

Days = Mapping[date, Sequence[int]]
"""Requests by local day, 24 counts each; days without any are there too."""


class Peak(Struct, frozen=True, kw_only=True):
    """Hours in a row at which a model is asked for: from `hour` (0 to 23, local time) on, for
    `hours`. `ratio` is its requests against those of an average hour, `steady` the share of days on
    which it came, `requests` the mean of them on such a day, of all the hours together."""

    hour: int
    hours: int
    days: str
    ratio: float
    steady: float
    requests: float


def by_day(counts: Mapping[int, int], now: float, zone: tzinfo | None) -> dict[date, list[int]]:
    """Counts by the start of an hour (seconds since the epoch) as whole local days, from the first
    one with a request to yesterday. `zone` None: this machine's."""
    found: dict[date, list[int]] = {}
    for start, requests in counts.items():
        local = datetime.fromtimestamp(start, zone)
        found.setdefault(local.date(), [0] * HOURS)[local.hour] += requests
    today = datetime.fromtimestamp(now, zone).date()
    days: dict[date, list[int]] = {}
    day = min(found, default=today)
    while day < today:
        days[day] = found.get(day, [0] * HOURS)
        day += timedelta(days=1)
    return days


def peaks(days: Days) -> list[Peak]:
    """Where the day's peaks begin; one of working days or of weekends is none of every day."""
    workdays = {day: counts for day, counts in days.items() if day.weekday() < 5}
    weekend = {day: counts for day, counts in days.items() if day.weekday() >= 5}
    found = [
        peak
        for peak in _peaks(days, EVERY_DAY)
        if not weekend or _ratio(weekend, peak.hour) >= LEAST_RATIO
    ]
    covered = {(peak.hour + n) % HOURS for peak in found for n in range(peak.hours)}
    some = _peaks(workdays, WORKDAYS) + _peaks(weekend, WEEKENDS)
    return found + [peak for peak in some if peak.hour not in covered]


def trend(days: Days) -> float | None:
    """How much more was asked in the last week than in the one before: 0.5 for half as much again.
    None with less than two weeks, or nothing in the first of them."""
    totals = [sum(counts) for _, counts in sorted(days.items())]
    if len(totals) < 2 * TREND_DAYS:
        return None
    before, last = sum(totals[-2 * TREND_DAYS : -TREND_DAYS]), sum(totals[-TREND_DAYS:])
    return last / before - 1.0 if before else None


def mean_at(days: Days, hour: int, hours: int = 1) -> float:
    """Requests a day at those hours, on average."""
    if not days:
        return 0.0
    wanted = [(hour + n) % HOURS for n in range(hours)]
    return sum(counts[h] for counts in days.values() for h in wanted) / len(days)


def _peaks(days: Days, name: str) -> list[Peak]:
    sums = [sum(counts[hour] for counts in days.values()) for hour in range(HOURS)]
    average = sum(sums) / HOURS
    if not average or len(days) < LEAST_DAYS:
        return []
    hot = [hour for hour in range(HOURS) if _is_hot(days, sums[hour], average, hour)]
    found = []
    for hour in hot:
        if (hour - 1) % HOURS in hot and len(hot) < HOURS:
            continue  # in the middle of one
        length = next(n for n in range(1, HOURS + 1) if (hour + n) % HOURS not in hot)
        found.append(
            Peak(
                hour=hour,
                hours=length,
                days=name,
                ratio=_ratio(days, hour),
                steady=_steady(days, hour),
                requests=mean_at(days, hour, length),
            )
        )
    return found


def _is_hot(days: Days, requests: int, average: float, hour: int) -> bool:
    sigma = 2.0 * (math.sqrt(requests + 3 / 8) - math.sqrt(average + 3 / 8))
    is_large = requests >= LEAST_RATIO * average and sigma >= LEAST_SIGMA
    return is_large and _steady(days, hour) >= LEAST_STEADY


def _ratio(days: Days, hour: int) -> float:
    total = sum(map(sum, days.values()))
    return sum(counts[hour] for counts in days.values()) * HOURS / total if total else 0.0


def _steady(days: Days, hour: int) -> float:
    if not days:
        return 0.0
    busy = sum(counts[hour] > sum(counts) / HOURS for counts in days.values())
    return busy / len(days)
