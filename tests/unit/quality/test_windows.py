"""Windows hold exactly what they say, whatever the clock does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.quality.windows import BOUNDS, Bucket, Window, quantile

START = 1_750_000_000
moments = st.lists(st.integers(0, 3 * 3600).map(lambda s: START + s), max_size=60)


def window() -> Window:
    return Window(60, 60)


@given(moments, st.integers(0, 4 * 3600))
def test_it_forgets_exactly_what_lies_before_its_oldest_minute(
    moments: list[int], later: int
) -> None:
    hour = window()
    for moment in sorted(moments):
        hour.at(moment).served(None, None)
    now = max([*moments, START]) + later
    inside = [m for m in moments if now // 60 - 60 < m // 60 <= now // 60]
    assert hour.total(now).requests == len(inside)


@given(st.lists(st.integers(START - 10_000, START + 10_000), min_size=1, max_size=60))
def test_a_clock_that_jumps_leaves_nothing_in_the_future_and_bounded_memory(
    moments: list[int],
) -> None:
    hour = window()
    for moment in moments:
        hour.at(moment).failed(cut=False)
        kept = hour._buckets
        assert moment // 60 in kept
        assert all(moment // 60 - 60 < number <= moment // 60 for number in kept)
        assert len(kept) <= 60


def test_a_clock_set_back_drops_what_would_be_in_the_future() -> None:
    hour = window()
    hour.at(START).served(None, None)
    hour.at(START + 600).served(None, None)
    assert hour.total(START).requests == 1
    assert hour.total(START + 600).requests == 1


@given(moments)
def test_a_series_adds_up_to_the_total(moments: list[int]) -> None:
    hour = window()
    for moment in sorted(moments):
        hour.at(moment).served(12.0, None)
    now = max([*moments, START])
    series = hour.series(now, points=12)
    assert len(series) == 12
    assert sum(bucket.requests for bucket in series) == hour.total(now).requests


def test_the_newest_part_of_a_series_is_the_last() -> None:
    hour = window()
    hour.at(START).failed(cut=True)
    assert [b.cuts for b in hour.series(START, points=12)] == [0] * 11 + [1]


samples = st.lists(st.floats(0.1, 599_999.0), min_size=1, max_size=50)


@given(samples)
def test_quantiles_lie_in_the_bin_of_the_sample(times: list[float]) -> None:
    bucket = Bucket()
    for ms in times:
        bucket.served(ms, None)
    view = bucket.view()
    assert view.first_token_ms == pytest.approx(sum(times) / len(times))
    assert view.first_token_p50_ms is not None
    assert view.first_token_p95_ms is not None
    assert view.first_token_p50_ms <= view.first_token_p95_ms
    for share, found in ((0.5, view.first_token_p50_ms), (0.95, view.first_token_p95_ms)):
        real = sorted(times)[max(0, -int(-share * len(times) // 1) - 1)]
        low = max([0.0, *(b for b in BOUNDS if b < real)])
        high = min(b for b in BOUNDS if b >= real)
        assert low <= found <= high + 1e-6


def test_beyond_the_last_bound_a_quantile_is_that_bound_and_of_nothing_unknown() -> None:
    bucket = Bucket()
    bucket.served(10_000_000.0, None)
    assert bucket.view().first_token_p95_ms == BOUNDS[-1]
    assert quantile((), 0.5) is None
    assert Bucket().view().first_token_ms is None


def test_how_fast_a_failure_came_is_no_merit() -> None:
    bucket = Bucket()
    bucket.failed(cut=False)
    assert bucket.view().first_token_ms is None
    assert bucket.view().tokens_per_second is None
