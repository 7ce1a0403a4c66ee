"""Scores stay within bounds and move the right way."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.config.model import QualityConfig
from nexus_proxy.quality.score import judge, parts_of, weighed
from nexus_proxy.quality.windows import Bucket
from nexus_proxy.state import QualityWindow

NOTHING = QualityWindow()
DEFAULT = QualityConfig()
times = st.none() | st.floats(0.0, 1e7)
rates = st.none() | st.floats(0.0, 1e5)


@st.composite
def windows(draw: st.DrawFn) -> QualityWindow:
    requests = draw(st.integers(5, 10_000))
    faults = draw(st.integers(0, requests))
    return QualityWindow(
        requests=requests,
        faults=faults,
        cuts=draw(st.integers(0, faults)),
        first_token_p50_ms=draw(times),
        tokens_per_second=draw(rates),
    )


@given(windows(), st.integers(0, 100_000))
def test_a_score_and_its_parts_lie_between_0_and_100(window: QualityWindow, limit: int) -> None:
    parts = parts_of(window, limit)
    assert 0.0 <= weighed(parts) <= 100.0
    known = [value for value in msgspec.structs.astuple(parts) if value is not None]
    assert all(0.0 <= value <= 100.0 for value in known)
    assert min(known) - 1e-9 <= weighed(parts) <= max(known) + 1e-9


@given(
    st.lists(st.tuples(st.floats(1.0, 1e6), st.floats(0.1, 200.0)), min_size=5, max_size=30),
    st.lists(st.booleans(), max_size=30),
    st.booleans(),
)
def test_one_more_fault_never_raises_it(
    served: list[tuple[float, float]], cuts: list[bool], cut: bool
) -> None:
    bucket = Bucket()
    for first, rate in served:
        bucket.served(first, rate)
    for was_cut in cuts:
        bucket.failed(cut=was_cut)
    before, _ = judge(bucket.view(), NOTHING, DEFAULT)
    bucket.failed(cut=cut)
    after, _ = judge(bucket.view(), NOTHING, DEFAULT)
    assert before is not None
    assert after is not None
    assert after <= before + 1e-9


@given(windows(), st.floats(1.0, 1e6), st.floats(1.0, 1e6))
def test_a_later_first_token_never_raises_it(window: QualityWindow, one: float, two: float) -> None:
    scores = [
        weighed(parts_of(msgspec.structs.replace(window, first_token_p50_ms=ms), 3000))
        for ms in sorted((one, two))
    ]
    assert scores[1] <= scores[0] + 1e-9


def test_too_few_samples_are_unknown_and_the_day_stands_in_for_the_hour() -> None:
    few, many = QualityWindow(requests=4), QualityWindow(requests=100, faults=100)
    assert judge(few, few, DEFAULT)[0] is None
    assert judge(few, many, DEFAULT)[0] == pytest.approx(1500 / 65)  # whole, though all failed
    assert judge(QualityWindow(requests=5), many, DEFAULT)[0] == 100.0


def test_the_first_token_counts_only_beyond_the_threshold() -> None:
    def part(median: float, limit: int) -> float | None:
        window = QualityWindow(requests=9, first_token_p50_ms=median)
        return parts_of(window, limit).first_token

    assert part(3000.0, 3000) == 100.0
    assert part(6000.0, 3000) == 50.0
    assert part(1e6, 0) == 100.0


def test_a_cut_stream_weighs_more_than_a_fault_that_failover_hides() -> None:
    fault, cut = (QualityWindow(requests=10, faults=1, cuts=cuts) for cuts in (0, 1))
    assert weighed(parts_of(cut, 3000)) < weighed(parts_of(fault, 3000))
