"""What a month has cost: nothing is left out of the rows, and a forecast says what it is."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from nexus_proxy.accounting.entries import Entry, Settlement, add_usage, reserve, settle
from nexus_proxy.accounting.report import BY, spend
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.state import SpendReport
from nexus_proxy.store.sqlite import Store

NANO = 10**9
USAGE = TokenUsage(prompt=3, completion=5)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = Store(tmp_path / "nexus.db")
    await store.open()
    yield store
    await store.close()


async def book(store: Store, day: str, usd: float | None, **how: str) -> None:
    """One request that ended on a day."""

    def job(connection: sqlite3.Connection) -> None:
        (number,) = connection.execute("SELECT COUNT(*) FROM entries").fetchone()
        entry = Entry(
            id=f"e{number}",
            request_id="r",
            owner="o",
            at=0.0,
            day=day,
            month=day[:7],
            backend=how.get("backend", "cloud"),
            model=how.get("model", "m"),
            model_asked="m",
            key=how.get("key", ""),
            nanousd=NANO,
        )
        reserve(connection, entry)
        if how.get("state") != "reserved":
            settle(
                connection,
                entry,
                Settlement(
                    nanousd=None if usd is None else round(usd * NANO),
                    provenance=how.get("provenance", "measured"),
                    usage=USAGE,
                    state=how.get("state", "settled"),
                ),
            )

    await store.write(job)


async def report(store: Store, by: str = "day", today: str = "2026-11-30") -> SpendReport:
    return await store.read(lambda connection: spend(connection, "2026-11", by, today))


async def forecast(store: Store, days: Mapping[int, float], today: int) -> float | None:
    """Of November 2026, which begins on a Sunday, from what its days have cost."""
    for day, usd in days.items():
        await book(store, f"2026-11-{day:02}", usd)
    return (await report(store, today=f"2026-11-{today:02}")).forecast_usd


@pytest.mark.parametrize("by", BY)
async def test_every_figure_stands_in_a_row_under_how_far_it_can_be_trusted(
    store: Store, by: str
) -> None:
    await book(store, "2026-11-02", 0.5)
    await book(store, "2026-11-02", 0.25, state="interrupted")  # cut after the usage had come
    await book(store, "2026-11-02", 0.125, state="interrupted", provenance="estimated")
    await book(store, "2026-11-02", None, provenance="unknown")
    await book(store, "2026-11-02", 0, state="reserved")
    await store.write(lambda c: add_usage(c, [("2026-11-02", "cloud", "m", "", 2, 10, 20)]))
    told = await report(store, by, "2026-11-02")
    (row,) = [row for row in told.rows if row.requests]
    assert (row.usd_measured, row.usd_estimated, row.usd_reserved) == (0.75, 0.125, 1.0)
    assert (row.requests, row.free_requests, row.unknown_requests) == (7, 2, 1)
    assert (row.prompt_tokens, row.completion_tokens) == (4 * 3 + 10, 4 * 5 + 20)
    assert (told.spent_usd, told.reserved_usd, told.unknown_requests) == (0.875, 1.0, 1)


async def test_other_months_are_left_out(store: Store) -> None:
    for day in ("2026-10-31", "2026-12-01", "2025-11-15"):
        await book(store, day, 1.0)
    await book(store, "2026-11-01", 0.25)
    await book(store, "2026-11-30", 0.5)
    told = await report(store, "backend")
    (row,) = told.rows
    assert row.usd_measured == told.spent_usd == 0.75


async def test_a_report_reads_its_own_month_and_no_other(store: Store) -> None:
    """A year of requests is not read for one month of them."""
    seen: list[str] = []

    def traced(connection: sqlite3.Connection) -> None:
        connection.set_trace_callback(seen.append)
        for by in BY:
            spend(connection, "2026-11", by, "2026-11-20")
        connection.set_trace_callback(None)
        for statement in filter(lambda text: "GROUP BY" in text, seen):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            assert any("SEARCH" in step for step in plan), (statement, plan)
            whole = ("SCAN entries", "SCAN usage")
            assert not any(step.startswith(whole) for step in plan), (statement, plan)

    await store.read(traced)
    assert len(seen) > 2 * len(BY)


async def test_from_two_days_nothing_is_forecast(store: Store) -> None:
    assert await forecast(store, {1: 1.0, 2: 1.0}, today=3) is None


async def test_the_mean_of_the_days_so_far_goes_on(store: Store) -> None:
    """Four days of $1 and one of nothing: 80 cents for each of the 25 that are left."""
    days = {1: 1.0, 2: 1.0, 4: 1.0, 5: 1.0}
    assert await forecast(store, days, today=6) == pytest.approx(4 + 25 * 0.8)


async def test_who_began_in_the_middle_of_a_month_is_not_forecast_from_its_first_half(
    store: Store,
) -> None:
    days = {12: 2.0, 14: 2.0, 15: 2.0}
    assert await forecast(store, days, today=14) is None
    assert await forecast(store, {}, today=16) == pytest.approx(6 + 15 * 1.5)
    await book(store, "2026-10-31", 1.0)
    assert await forecast(store, {}, today=16) == pytest.approx(6 + 4 / 3 + 2 + 2), (
        "of two Sundays, Thursdays and Saturdays that are left, by three and two of each"
    )


async def test_after_two_weeks_weekends_are_forecast_as_weekends(store: Store) -> None:
    """$2 on working days, nothing on weekends: 1, 7, 8, … are; 21 of the 30 days are not."""
    weekend = {1, 7, 8, 14, 15, 21, 22, 28, 29}
    days = {day: 2.0 for day in range(1, 17) if day not in weekend}
    assert await forecast(store, days, today=17) == pytest.approx(21 * 2.0)


async def test_a_day_dearer_than_the_mean_is_not_forecast_away(store: Store) -> None:
    """Today's own spend counts, if it is above what was expected of it."""
    days = {1: 1.0, 2: 1.0, 3: 1.0, 4: 50.0}
    assert await forecast(store, days, today=4) == pytest.approx(3 + 50 + 26)


async def test_a_month_that_is_over_is_not_forecast(store: Store) -> None:
    await book(store, "2026-11-02", 1.0)
    assert (await report(store, today="2026-12-02")).forecast_usd is None
