"""What the service keeps, tells, saves and forgets. The database is a real one."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.config.model import QualityConfig
from nexus_proxy.events import QualityChanged
from nexus_proxy.quality import rows
from nexus_proxy.quality.service import MOST_PAIRS, Outcome
from nexus_proxy.quality.windows import BINS
from nexus_proxy.state import QualityState
from tests.unit.quality.support import World

DAY = 86_400


def told(world: World) -> list[str]:
    return [event.what for event in world.heard.events if isinstance(event, QualityChanged)]


class Database:
    """As the store will do it."""

    def __init__(self) -> None:
        self.sql = sqlite3.connect(":memory:")
        self.sql.execute(rows.TABLE)

    def close(self) -> None:
        self.sql.close()

    def save(self, saved: rows.Saved) -> None:
        self.sql.executemany(rows.FORGET, [(name,) for name in saved.forgotten])
        self.sql.executemany(rows.SAVE, saved.rows)
        self.sql.execute(rows.EXPIRE, (saved.oldest,))

    def load(self) -> list[Any]:
        return self.sql.execute(rows.LOAD).fetchall()


@pytest.fixture
def database() -> Iterator[Database]:
    with closing(Database()) as database:
        yield database


def test_only_the_backends_faults_count() -> None:
    world = World("a")
    world.note("a", Outcome.BLAMELESS, times=50)
    assert world.quality.views() == ()
    world.note("a", Outcome.SERVED, times=4, first_token_ms=100.0, tokens_per_second=40.0)
    world.note("a", Outcome.CUT)
    world.note("a", Outcome.BLAMELESS, times=50)
    world.quality.recompute()
    (view,) = world.quality.views()
    assert (view.hour.requests, view.hour.faults, view.hour.cuts) == (5, 1, 1)
    assert view.day.requests == 5
    assert view.score == pytest.approx((50 * 80 + 15 * 80 + 20 * 100 + 15 * 100) / 100)
    assert view.parts.success == pytest.approx(80.0)
    assert view.success_trend == (*[None] * 11, 0.8)
    assert view.first_token_trend[-1] == 100.0


def test_exclusion_is_told_with_the_reason_and_shown_with_its_end() -> None:
    world = World("a")
    world.note("a", Outcome.FAULT, times=5)
    assert told(world) == [
        "is left out for m: 5 of its last 5 requests failed; tried again in 30 s"
    ]
    (view,) = world.quality.views()
    assert view.state is QualityState.EXCLUDED
    assert view.excluded_until == world.wall + 30
    assert view.state_since == world.wall
    assert view.reason == "5 of its last 5 requests failed"
    world.wait(31)
    assert world.quality.views()[0].state is QualityState.HALF_OPEN
    world.note("a", Outcome.SERVED, times=2)
    (view,) = world.quality.views()
    assert view.state is QualityState.IN_USE
    assert view.excluded_until is None
    assert told(world)[1:] == ["is used for m again"]


def test_a_wall_clock_that_jumps_does_not_move_the_end_of_a_rest() -> None:
    world = World("a")
    world.note("a", Outcome.FAULT, times=5)
    world.quality.recompute()
    world.wall -= 10 * DAY
    (view,) = world.quality.views()
    assert view.state is QualityState.EXCLUDED
    assert view.excluded_until == world.wall + 30
    assert view.hour.requests == 5  # as judged last
    world.quality.recompute()
    assert world.quality.views()[0].hour.requests == 0


def test_a_new_configuration_counts_from_the_next_request_on() -> None:
    world = World("a")
    world.quality.apply(QualityConfig(min_samples=2))
    world.note("a", Outcome.FAULT, times=2)
    assert len(told(world)) == 1


def test_all_is_forgotten_with_the_backend() -> None:
    world = World("a", "b")
    gone = world.registry.get("a")
    world.note("a", Outcome.FAULT, times=5)
    world.registry.remove("a")
    world.quality.note(gone, "m", Outcome.FAULT)
    assert world.quality.views() == ()
    assert world.quality.dump() == rows.Saved([], ["a"], int(world.wall) - DAY)
    assert world.add("a").quality == {}


def test_after_a_day_without_requests_a_pair_is_forgotten() -> None:
    world = World("a")
    world.note("a", Outcome.SERVED)
    world.wait(DAY - 1000)
    world.quality.recompute()
    assert len(world.quality.views()) == 1
    world.wait(2000)
    world.quality.recompute()
    assert world.quality.views() == ()
    assert world.registry.get("a").quality == {}


def test_the_number_of_pairs_is_bounded() -> None:
    world = World("a")
    backend = world.registry.get("a")
    for number in range(MOST_PAIRS + 10):
        world.quality.note(backend, f"m{number}", Outcome.SERVED)
    assert len(world.quality.views()) == len(backend.quality) == MOST_PAIRS
    assert "m0" not in backend.quality


def test_windows_survive_a_restart_and_exclusions_do_not(database: Database) -> None:
    world = World("a", "b")
    world.note("a", Outcome.SERVED, times=9, first_token_ms=420.0, tokens_per_second=12.5)
    world.note("b", Outcome.FAULT, times=6)
    database.save(world.quality.dump())
    world.wait(60)
    world.note("a", Outcome.CUT)
    database.save(world.quality.dump())
    world.quality.recompute()
    before = {view.backend: view for view in world.quality.views()}

    again = World("a")
    again.wall = world.wall
    assert again.quality.load(database.load()) == 0
    again.add("b")
    after = {view.backend: view for view in again.quality.views()}
    assert after["a"] == before["a"]
    assert after["b"].hour == before["b"].hour
    assert after["b"].score == before["b"].score
    assert after["b"].state is QualityState.IN_USE
    assert again.registry.get("a").quality["m"].score == before["a"].score
    assert again.registry.get("b").quality["m"].score == before["b"].score


def test_what_was_loaded_goes_on_being_counted_and_saved(database: Database) -> None:
    world = World("a")
    world.note("a", Outcome.SERVED, times=3, first_token_ms=50.0)
    database.save(world.quality.dump())
    again = World("a")
    again.quality.load(database.load())
    again.note("a", Outcome.SERVED, times=2, first_token_ms=50.0)
    database.save(again.quality.dump())
    last = World("a")
    last.quality.load(database.load())
    (view,) = last.quality.views()
    assert view.hour.requests == view.day.requests == 5
    assert view.hour.first_token_ms == 50.0


def test_only_what_changed_is_saved_again() -> None:
    world = World("a")
    world.note("a", Outcome.SERVED)
    assert [row.width for row in world.quality.dump().rows] == [60, 900]
    assert world.quality.dump().rows == []
    world.wait(61)
    world.note("a", Outcome.SERVED)
    assert sorted((row.width, row.requests) for row in world.quality.dump().rows) == [
        (60, 1),
        (900, 2),
    ]


def test_old_rows_leave_the_database_and_rows_of_the_future_are_dropped(database: Database) -> None:
    world = World("a")
    world.note("a", Outcome.SERVED)
    database.save(world.quality.dump())
    back = World("a")
    back.wall -= 7200
    assert back.quality.load(database.load()) == 0
    assert back.quality.views() == ()
    world.wait(2 * DAY)
    database.save(world.quality.dump())
    assert database.load() == []


GOOD = ("a", "m", 60, 1_750_000_020 - 60, 3, 1, 1, 40.0, "", 0.0, 0)
anything = st.none() | st.integers() | st.floats() | st.text(max_size=4) | st.binary(max_size=4)


@given(st.lists(st.tuples(*[anything] * 11) | st.lists(anything), max_size=5))
def test_rows_that_make_no_sense_are_counted_and_passed_over(broken: list[Any]) -> None:
    world = World("a")
    assert world.quality.load([*broken, GOOD]) <= len(broken)
    (view,) = [view for view in world.quality.views() if (view.backend, view.model) == ("a", "m")]
    assert view.hour.requests == 3


@pytest.mark.parametrize(
    "change",
    [
        {2: 61},
        {4: -1},
        {5: 4},
        {6: 2},
        {7: float("inf"), 8: str([1] * BINS)},
        {7: float("nan"), 8: str([1] * BINS)},
        {8: "[1, 2]"},
        {8: "no json"},
        {8: str([-1] * BINS)},
        {0: ""},
        {1: b"m"},
    ],
    ids=str,
)
def test_each_kind_of_nonsense(change: dict[int, Any]) -> None:
    row = [change.get(place, value) for place, value in enumerate(GOOD)]
    world = World("a")
    assert world.quality.load([row]) == 1
    assert world.quality.views() == ()


async def test_the_timer_judges_and_saves_and_the_end_saves_the_rest() -> None:
    world = World("a", metrics_interval_seconds=1)
    saved: asyncio.Queue[rows.Saved] = asyncio.Queue()
    world.quality.connect(saved.put_nowait)
    world.quality.start()
    world.note("a", Outcome.SERVED, times=5)
    async with asyncio.timeout(20):
        assert len((await saved.get()).rows) == 2
    assert world.registry.get("a").quality["m"].score == 100.0
    world.note("a", Outcome.SERVED)
    world.quality.stop()
    assert [row.requests for row in saved.get_nowait().rows] == [6, 6]
