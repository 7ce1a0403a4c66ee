"""What is advised of generated months with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.fleet.advise import Counts, FleetReport, Place, advise
from tests.unit.fleet.months import CONFIG, GB, NOW, at_nine, evenly, month, on_workdays, place


def advised(
    counts: Counts, places: Sequence[Place] | None = None, zone: Any = UTC, **config: Any
) -> FleetReport:
    changed = msgspec.structs.replace(CONFIG, **config)
    found = [place()] if places is None else places
    return advise(counts, found, changed, now=NOW.timestamp(), zone=zone)


def test_a_daily_peak_at_nine_is_found_and_loaded_for_in_time() -> None:
    report = advised({("box", "a"): month(at_nine)})
    (found,) = report.recommendations
    assert (found.model_id, found.target_backend_ids) == ("a", ("box",))
    assert (found.load_at, found.days) == ("08:55", "every day")
    assert found.confidence_score > 0.8
    assert "between 09:00 and 10:00 every day" in found.reasons[0]
    assert found.vram_required_bytes == 5 * GB
    assert (report.days, report.note, report.left_out) == (28, None, ())


def test_a_peak_of_working_days_is_told_as_such() -> None:
    (found,) = advised({("box", "a"): month(on_workdays)}).recommendations
    assert (found.load_at, found.days) == ("08:55", "Monday to Friday")


def test_a_peak_of_weekends_is_told_as_such_and_two_are_none() -> None:
    def rate(moment: datetime) -> float:
        return 20.0 if moment.weekday() >= 5 and moment.hour == 20 else 0.3

    (found,) = advised({("box", "a"): month(rate)}).recommendations
    assert (found.load_at, found.days) == ("19:55", "Saturday and Sunday")
    assert "so on 100% of 8 days" in found.reasoning
    once = {("box", "a"): month(rate, days=14)}
    assert advised(once, min_request_count=10).recommendations == ()


def test_what_is_many_times_as_much_is_not_told_in_percent() -> None:
    def rate(moment: datetime) -> float:
        return 0.0 if 8 <= (NOW - moment).days <= 16 else at_nine(moment)

    (found,) = advised({("box", "a"): month(rate)}).recommendations
    assert "times as much as the week before" in found.reasoning
    assert "% more" not in found.reasoning


def test_working_hours_begin_once() -> None:
    def office(moment: datetime) -> float:
        return 8.0 if 9 <= moment.hour < 17 else 0.2

    (found,) = advised({("box", "a"): month(office)}).recommendations
    assert found.load_at == "08:55"
    assert "between 09:00 and 17:00" in found.reasons[0]


def test_a_peak_over_midnight_begins_before_it() -> None:
    def night(moment: datetime) -> float:
        return 15.0 if moment.hour in (23, 0) else 0.5

    (found,) = advised({("box", "a"): month(night)}).recommendations
    assert found.load_at == "22:55"
    assert "between 23:00 and 01:00" in found.reasons[0]


def test_hours_are_those_of_the_time_zone_through_a_change_of_clocks() -> None:
    zurich = ZoneInfo("Europe/Zurich")
    now = datetime(2026, 4, 12, 12, tzinfo=zurich)
    hours: dict[int, int] = {}
    for days in range(1, 29):  # the clocks go forward on 29 March
        nine = (now - timedelta(days=days)).replace(hour=9)
        hours[int(nine.timestamp())] = 20
    report = advise({("box", "a"): hours}, [place()], CONFIG, now=now.timestamp(), zone=zurich)
    assert [one.load_at for one in report.recommendations] == ["08:55"]


@given(st.integers(0, 10_000), st.floats(0.2, 20.0))
def test_noise_gives_nothing(seed: int, rate: float) -> None:
    report = advised({("box", "a"): month(lambda _moment: rate, seed=seed, days=14)})
    assert report.recommendations == ()
    assert report.note is not None


def test_one_afternoon_of_a_thousand_requests_gives_nothing() -> None:
    hours = month(evenly)
    hours[int((NOW - timedelta(days=3)).replace(hour=14).timestamp())] = 1000
    report = advised({("box", "a"): hours})
    assert report.recommendations == ()
    assert "no model is asked for at certain hours" in (report.note or "")


def test_too_few_days_give_nothing_and_say_so() -> None:
    report = advised({("box", "a"): month(at_nine, days=5)})
    assert report.recommendations == ()
    assert report.note == (
        "5 whole days of requests are known, and 7 are needed (fleet.min_sample_days)"
    )


def test_too_few_requests_give_nothing_and_say_so() -> None:
    report = advised({("box", "a"): month(at_nine)}, min_request_count=5000)
    assert "and 5000 are needed (fleet.min_request_count)" in (report.note or "")


def test_nothing_at_all_says_so() -> None:
    assert (advised({}).note or "").startswith("0 whole days")


@pytest.mark.parametrize(
    ("sizes", "most", "why"),
    [
        ({"a": 20 * GB}, None, "20.0 GB do not fit into 16.0 GB"),
        ({"a": 10 * GB, "b": 10 * GB}, None, "10.0 GB do not fit into 6.0 GB beside b, used then"),
        ({"a": None, "b": None}, 1, "box keeps 1 loaded, and b is used then"),
    ],
)
def test_a_model_that_is_used_then_is_not_thrown_out(
    sizes: dict[str, int | None], most: int | None, why: str
) -> None:
    counts = {("box", "a"): month(at_nine), ("box", "b"): month(evenly, seed=2)}
    report = advised(counts, [place(sizes=sizes, most=most)])
    assert report.recommendations == ()
    assert any(why in sentence for sentence in report.left_out), report.left_out


def test_another_backend_with_room_is_named_instead() -> None:
    counts = {("box", "a"): month(at_nine), ("box", "b"): month(evenly, seed=2)}
    full = place(sizes={"a": 10 * GB, "b": 10 * GB})
    (found,) = advised(counts, [full, place("gpubox")]).recommendations
    assert found.target_backend_ids == ("gpubox",)


def test_where_it_was_served_comes_first() -> None:
    counts = {("zeta", "a"): month(at_nine)}
    (found,) = advised(counts, [place("alpha"), place("zeta")]).recommendations
    assert found.target_backend_ids == ("zeta", "alpha")


def test_what_is_warm_anyway_needs_no_warming() -> None:
    def busy(moment: datetime) -> float:
        return 100.0 if moment.hour == 9 else 20.0

    report = advised({("box", "a"): month(busy)})
    assert report.recommendations == ()
    assert "keep it loaded anyway" in report.left_out[0]


def test_the_trend_moves_the_confidence() -> None:
    def by_week(last: float) -> dict[int, int]:
        def rate(moment: datetime) -> float:
            is_last = moment >= NOW.replace(hour=0) - timedelta(days=7)
            return at_nine(moment) * (last if is_last else 1.0)

        return month(rate)

    up, same, down = (
        advised({("box", "a"): by_week(factor)}).recommendations[0] for factor in (1.6, 1.0, 0.5)
    )
    assert up.confidence_score > same.confidence_score > down.confidence_score
    assert any("the week before" in reason for reason in up.reasons)
    gone = advised({("box", "a"): by_week(0.0)})
    assert gone.recommendations == ()
    assert "nobody has asked for it in the last week" in gone.left_out[0]


def test_a_size_that_nobody_knows_is_said_and_costs_confidence() -> None:
    counts = {("box", "a"): month(at_nine)}
    (known,) = advised(counts).recommendations
    (unknown,) = advised(counts, [place(sizes={"a": None})]).recommendations
    assert unknown.confidence_score < known.confidence_score
    assert "its size is not known" in unknown.reasoning


def test_a_slow_load_begins_earlier() -> None:
    slow = Place(backend="box", sizes={"a": GB}, limit=16 * GB, seconds={"a": 600.0})
    (found,) = advised({("box", "a"): month(at_nine)}, [slow]).recommendations
    assert found.load_at == "08:40"


def test_only_the_surest_are_told() -> None:
    names = "abcdef"
    counts = {("box", name): month(at_nine, seed=n) for n, name in enumerate(names)}
    places = [place(name, {name: GB}) for name in names]
    report = advised(counts, places, max_recommendations=3)
    scores = [one.confidence_score for one in report.recommendations]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
