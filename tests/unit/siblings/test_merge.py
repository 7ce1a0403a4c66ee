"""Several snapshots as one."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.siblings.merge import Told, merge, newest
from nexus_proxy.siblings.seat import Seat
from nexus_proxy.state import BackendState, BackendView, RequestPhase, RequestView, Trend
from tests.support.sample_policies import NOW, backend_trend, key
from tests.support.sample_snapshot import empty_snapshot, snapshot

_RUNNING = (
    RequestPhase.ROUTING,
    RequestPhase.QUEUED,
    RequestPhase.WAITING,
    RequestPhase.STREAMING,
)
PLAIN = snapshot()
ONE = PLAIN.backends[0]
REQUEST = PLAIN.requests[0]


def with_backend(**changes: object) -> BackendView:
    return merge(
        [
            Told(0, empty_snapshot(backends=(ONE,))),
            Told(1, empty_snapshot(backends=(msgspec.structs.replace(ONE, **changes),))),
        ]
    ).backends[0]


def test_totals_add_up_and_the_oldest_start_counts() -> None:
    later = snapshot(started_at=PLAIN.started_at + 60)
    merged = merge([Told(1, later), Told(0, PLAIN)])
    for field in PLAIN.totals.__struct_fields__:
        assert getattr(merged.totals, field) == 2 * getattr(PLAIN.totals, field)
    assert merged.started_at == PLAIN.started_at


def test_backends_are_one_by_name_with_their_counts_added() -> None:
    merged = merge([Told(0, PLAIN), Told(1, PLAIN)])
    alone = merge([Told(0, PLAIN)])
    for both, one in zip(merged.backends, alone.backends, strict=True):
        assert both.name == one.name
        assert (both.in_flight, both.requests, both.failures) == (
            2 * one.in_flight,
            2 * one.requests,
            2 * one.failures,
        )


def test_one_that_only_another_lists_is_there() -> None:
    other = msgspec.structs.replace(ONE, name="elsewhere")
    merged = merge([Told(0, PLAIN), Told(1, empty_snapshot(backends=(other,)))])
    assert "elsewhere" in {b.name for b in merged.backends}


def test_the_worst_health_wins_with_its_reason() -> None:
    seen = with_backend(state=BackendState.DOWN, reason="connection refused")
    assert (seen.state, seen.reason) == (BackendState.DOWN, "connection refused")


def test_one_that_has_not_looked_yet_does_not_count() -> None:
    assert with_backend(state=BackendState.UNKNOWN, models=()).state is ONE.state
    assert with_backend(state=BackendState.UNKNOWN, models=()).models == ONE.models


def test_a_divided_limit_is_whole_again_and_a_learnt_one_is_not_doubled() -> None:
    def shown(source: str) -> int | None:
        part = msgspec.structs.replace(ONE, slots=2, slots_source=source)
        view = empty_snapshot(backends=(part,))
        return merge([Told(0, view), Told(1, view)]).backends[0].slots

    assert shown("config") == 4
    assert shown("learnt") == 2


def test_averages_are_weighted_by_requests() -> None:
    first = msgspec.structs.replace(ONE, first_token_ms=100.0, requests=3)
    second = msgspec.structs.replace(ONE, first_token_ms=200.0, requests=1)
    told = [Told(n, empty_snapshot(backends=(b,))) for n, b in enumerate((first, second))]
    assert merge(told).backends[0].first_token_ms == 125.0


def test_trends_add_up_part_by_part() -> None:
    a = backend_trend(requests=(1, 0), first_token_ms=(100.0, None), tokens_per_second=(2.0, 0.0))
    b = backend_trend(requests=(3, 1), first_token_ms=(200.0, 50.0), tokens_per_second=(1.0, 4.0))
    told = [Told(0, snapshot(trends={"x": a})), Told(1, snapshot(trends={"x": b, "y": b}))]
    merged = merge(told).trends
    assert merged["x"] == backend_trend(
        requests=(4, 1), first_token_ms=(175.0, 50.0), tokens_per_second=(3.0, 4.0)
    )
    assert merged["y"] == b


def test_problems_are_told_once_and_lines_by_time_with_their_worker() -> None:
    merged = merge([Told(0, PLAIN), Told(1, PLAIN)], kept_lines=3)
    assert merged.problems == PLAIN.problems
    assert len(merged.logs) == 3
    assert all(a.at <= b.at for a, b in pairwise(merged.logs))
    assert {line.worker for line in merge([Told(0, PLAIN), Told(1, PLAIN)]).logs} == {0, 1}


@st.composite
def _told(draw: st.DrawFn) -> dict[int, list[RequestView]]:
    def view(number: int) -> RequestView:
        return msgspec.structs.replace(
            REQUEST,
            id=f"req-{number}",
            started=NOW + draw(st.integers(0, 50)),
            total_ms=draw(st.none() | st.floats(0, 60_000)),
            phase=draw(st.sampled_from(RequestPhase)),
        )

    return {
        worker: [view(number) for number in range(draw(st.integers(0, 6)))]
        for worker in range(draw(st.integers(1, 4)))
    }


@given(_told(), st.integers(0, 8))
def test_requests_interleave_and_stay_bounded(
    told: dict[int, list[RequestView]], limit: int
) -> None:
    merged = newest(told, limit)
    running = [v for v in merged if v.phase in _RUNNING]
    ended = [v for v in merged if v.phase not in _RUNNING]
    assert merged == (*running, *ended)
    assert len(running) == sum(v.phase in _RUNNING for views in told.values() for v in views)
    assert len(ended) == min(limit, sum(map(len, told.values())) - len(running))
    assert all(a.started >= b.started for a, b in pairwise(running))
    ends = [v.started + (v.total_ms or 0) / 1000 for v in ended]
    assert all(a >= b for a, b in pairwise(ends))
    assert all(v.worker in told for v in merged)


@given(st.integers(1, 200), st.integers(1, 16))
def test_the_parts_of_a_limit_are_the_limit(limit: int, count: int) -> None:
    seats = [Seat(node_id="n", number=number, count=count) for number in range(count)]
    parts = [seat.share(limit) or 0 for seat in seats]
    assert min(parts) >= 1
    assert sum(parts) == max(limit, count)
    assert seats[0].share(None) is None


def test_what_a_key_used_adds_up_and_the_most_drained_worker_says_what_is_left() -> None:
    first = key("ci", requests_left=50, tokens_left=100, refused=1, last_used=NOW)
    second = key("ci", requests_left=2, tokens_left=8000, refused=2, last_used=None)
    told = [Told(n, empty_snapshot(keys=(one,))) for n, one in enumerate((first, second))]
    (both,) = merge(told).keys
    assert (both.requests, both.refused, both.tokens) == (128, 3, 2 * first.tokens)
    assert (both.requests_left, both.tokens_left, both.last_used) == (2, 100, NOW)
    (unlimited,) = merge([Told(0, empty_snapshot(keys=(key("free"),)))]).keys
    assert unlimited == key("free")


def test_trends_add_up_from_their_ends() -> None:
    young = Trend(
        seconds=2.0,
        requests=(5,),
        failures=(1,),
        tokens=(10,),
        in_flight=(2,),
        first_token_ms=(100.0,),
    )
    old = Trend(
        seconds=2.0,
        requests=(1, 2),
        failures=(0, 0),
        tokens=(3, 4),
        in_flight=(1, 1),
        first_token_ms=(50.0, 200.0),
    )
    views = [msgspec.structs.replace(snapshot(), trend=one) for one in (young, old)]
    merged = merge([Told(number, view) for number, view in enumerate(views)]).trend
    assert (merged.requests, merged.failures, merged.tokens) == ((1, 7), (0, 1), (3, 14))
    assert (merged.in_flight, merged.first_token_ms) == ((1, 3), (50.0, 150.0))
