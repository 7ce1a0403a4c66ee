"""What a bucket promises: it says truly how long to wait, and never lets more through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.admission.bucket import LONGEST_DEBT, WINDOW, Bucket

LIMITS = st.integers(1, 1_000_000)
START = st.floats(0, 1e7)
STEPS = st.lists(
    st.tuples(st.floats(0, 120), st.integers(0, 2_000_000), st.integers(0, 2_000_000)),
    max_size=30,
)
TICK = 1e-4
"""Seconds: more than floats lose in a year of uptime, less than a request at any sane limit."""


def emptied(limit: int, now: float) -> Bucket:
    """A bucket whose last unit was taken at `now`."""
    bucket = Bucket(limit)
    for _ in range(2):
        if not bucket.wait(limit, now):
            bucket.take(limit, now)
    return bucket


@given(st.integers(1, 6_000), START)
def test_after_the_wait_exactly_one_passes(limit: int, now: float) -> None:
    bucket = emptied(limit, now)
    wait = bucket.wait(1, now)
    assert 0 < wait <= WINDOW / limit + TICK
    assert bucket.wait(1, now + wait - min(TICK, wait / 2)) > 0
    later = now + wait
    assert bucket.wait(1, later) == 0.0
    bucket.take(1, later)
    assert bucket.wait(1, later) > 0


@given(LIMITS, START, STEPS)
def test_a_wait_is_always_enough_whatever_happened_before(
    limit: int, now: float, steps: list[tuple[float, int, int]]
) -> None:
    bucket = Bucket(limit)
    for pause, amount, used in steps:
        now += pause
        wait = bucket.wait(amount, now)
        assert 0 <= wait <= LONGEST_DEBT + WINDOW + TICK
        now += wait
        assert bucket.wait(amount, now) == 0.0
        bucket.take(amount, now)
        assert 0 <= bucket.level(now) <= limit
        bucket.correct(amount, used, now)
        assert 0 <= bucket.level(now) <= limit
        assert 0 <= bucket.reset(now) <= LONGEST_DEBT + TICK


@given(LIMITS, START, st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50_000)), max_size=60))
def test_never_more_than_a_full_bucket_and_what_flows_back(
    limit: int, start: float, tries: list[tuple[float, int]]
) -> None:
    bucket, now, taken = Bucket(limit), start, 0
    for pause, amount in tries:
        now += pause
        if not bucket.wait(amount, now):
            bucket.take(amount, now)
            taken += min(amount, limit)
    flowed = (now - start) / WINDOW * limit
    assert taken <= limit + flowed + 1 + limit * 1e-6


@given(st.integers(1, 100_000), START, st.integers(0, 100_000), st.integers(0, 100_000))
def test_a_correction_leaves_what_the_truth_would_have_left(
    limit: int, now: float, estimated: int, used: int
) -> None:
    bucket = Bucket(limit)
    bucket.take(estimated, now)
    bucket.correct(estimated, used, now)
    assert bucket.level(now) == pytest.approx(max(0, limit - used), abs=1)


def test_what_was_not_estimated_is_owed() -> None:
    bucket = Bucket(60)
    bucket.take(10, 0.0)
    bucket.correct(10, 120, 0.0)
    assert bucket.level(0.0) == 0
    assert bucket.wait(1, 0.0) == pytest.approx(61.0)
    assert bucket.wait(1, 61.0) == 0.0


def test_a_backend_that_lies_about_usage_locks_nobody_out_for_good() -> None:
    bucket = Bucket(60)
    bucket.take(1, 0.0)
    bucket.correct(1, 10**18, 0.0)
    assert bucket.wait(1, 0.0) <= LONGEST_DEBT


def test_more_than_the_limit_passes_once_the_bucket_is_full() -> None:
    bucket = Bucket(100)
    assert bucket.wait(10_000, 0.0) == 0.0
    bucket.take(1, 0.0)
    assert bucket.wait(10_000, 0.0) == pytest.approx(0.6)
