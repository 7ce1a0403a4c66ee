"""Months begin where the user lives, and a clock that jumps does not reopen them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.accounting.calendar import Calendar

HOUR = 3600.0
ZONES = [
    "UTC",
    "Europe/Zurich",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of summer time
    "America/Havana",  # clocks change at midnight
    "America/Sao_Paulo",  # days without a midnight, until 2019
    "Pacific/Apia",  # skipped 2011-12-30
    "Asia/Kathmandu",
]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        ("Europe/Zurich", "2026-10-31T22:59", "2026-10-31"),  # winter time since the 25th
        ("Europe/Zurich", "2026-10-31T23:01", "2026-11-01"),
        ("Europe/Zurich", "2026-06-30T21:59", "2026-06-30"),  # summer time
        ("Europe/Zurich", "2026-06-30T22:01", "2026-07-01"),
        ("America/Los_Angeles", "2026-11-01T06:59", "2026-10-31"),
        ("America/Los_Angeles", "2026-11-01T07:01", "2026-11-01"),
        ("Pacific/Kiritimati", "2026-12-31T10:01", "2027-01-01"),
        ("UTC", "2026-02-28T23:59", "2026-02-28"),
    ],
)
def test_days_are_local(zone: str, moment: str, day: str) -> None:
    calendar = Calendar(zone)
    assert calendar.day(at(moment)) == day
    assert calendar.month(at(moment)) == day[:7]


def test_a_clock_set_back_does_not_reopen_a_month() -> None:
    calendar = Calendar("UTC")
    assert calendar.month(at("2026-11-01T00:10")) == "2026-11"
    assert calendar.month(at("2026-10-31T20:00")) == "2026-11"
    assert calendar.month(at("2026-11-02T00:00")) == "2026-11"
    assert calendar.month(at("2026-12-01T00:00")) == "2026-12"


def test_a_clock_that_was_far_ahead_is_followed_back() -> None:
    calendar = Calendar("UTC")
    assert calendar.month(at("2031-01-01T00:00")) == "2031-01"
    assert calendar.month(at("2026-11-05T00:00")) == "2026-11"


def test_what_was_saved_counts_if_it_can_be_believed() -> None:
    now = at("2026-10-31T12:00")
    calendar = Calendar("UTC")
    assert calendar.resume("2026-11", now)
    assert calendar.month(now) == "2026-11"
    other = Calendar("UTC")
    assert not other.resume("2027-03", now)
    assert other.month(now) == "2026-10"
    assert other.resume("2026-09", now)
    assert other.resume(None, now)


@given(
    st.sampled_from(ZONES),
    st.floats(at("2009-01-01"), at("2029-01-01")),
    st.lists(st.floats(-40 * HOUR, 40 * HOUR), min_size=1, max_size=8),
)
def test_a_day_that_is_kept_is_the_day(zone: str, start: float, steps: list[float]) -> None:
    calendar = Calendar(zone)
    for moment in (start, *(start + step for step in steps)):
        local = datetime.fromtimestamp(moment, ZoneInfo(zone))
        assert calendar.day(moment) == f"{local:%Y-%m-%d}"


@pytest.mark.parametrize("zone", ZONES)
def test_every_hour_has_its_day(zone: str) -> None:
    calendar = Calendar(zone)
    for start in ("2011-12-28", "2018-11-02", "2026-03-07", "2026-10-24", "2026-12-31"):
        for hour in range(60):
            moment = at(start) + hour * HOUR
            local = datetime.fromtimestamp(moment, ZoneInfo(zone))
            assert calendar.day(moment) == f"{local:%Y-%m-%d}"
