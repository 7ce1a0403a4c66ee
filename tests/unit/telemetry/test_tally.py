"""The counters: bounded, and the same whoever adds them up."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.state import RequestPhase
from nexus_proxy.telemetry.history import Attempt, Record
from nexus_proxy.telemetry.tally import MOST_ROWS, OTHER, Tally, total

ENDED = (RequestPhase.DONE, RequestPhase.FAILED, RequestPhase.CANCELLED)
names = st.sampled_from(["a", "b"])
counts = st.none() | st.integers(0, 1000)
attempts = st.builds(
    Attempt, names, names, st.just(0.0), st.just(0.0), code=st.none() | st.just("upstream_error")
)
records = st.builds(
    Record,
    id=st.just("id"),
    endpoint=st.sampled_from(["chat", "embeddings"]),
    client=st.just("127.0.0.1"),
    started=st.just(0.0),
    clock=st.just(0.0),
    stream=st.booleans(),
    model=st.none() | names,
    backend=st.none() | names,
    phase=st.sampled_from(ENDED),
    code=st.none() | st.sampled_from(["upstream_error", "queue_full"]),
    prompt_tokens=counts,
    completion_tokens=counts,
    cached_tokens=counts,
    reasoning_tokens=counts,
    first_token_ms=st.none() | st.integers(0, 10**6).map(float),
    total_ms=st.integers(0, 10**6).map(float),
    queued_ms=st.none() | st.integers(0, 10**6).map(float),
    attempts=st.lists(attempts, max_size=4),
)


def tally_of(ended: list[Record]) -> Tally:
    tally = Tally()
    tally(ended)
    return tally


@given(st.lists(records, max_size=20), st.integers(0, 20))
def test_two_workers_count_what_one_would(ended: list[Record], cut: int) -> None:
    told = msgspec.msgpack.encode(tally_of(ended[:cut]))
    there = msgspec.msgpack.decode(told, type=Tally)
    here = tally_of(ended[cut:])
    before = msgspec.msgpack.encode(here)
    both, one = total([here, there]), tally_of(ended)
    assert msgspec.msgpack.encode(here) == before
    assert both.attempts == one.attempts
    assert both.rows.keys() == one.rows.keys()
    for labels, row in one.rows.items():
        mine = both.rows[labels]
        assert mine.errors == row.errors
        assert mine.duration.counts == row.duration.counts
        assert sum(row.duration.counts) == row.requests == mine.requests
        assert mine.first_token.counts == row.first_token.counts
        assert row.cached_tokens <= row.prompt_tokens
        assert row.reasoning_tokens <= row.completion_tokens
    assert both.queue_wait.counts == one.queue_wait.counts


def test_new_names_without_end_count_as_other() -> None:
    tally = Tally()
    for number in range(MOST_ROWS * 2):
        record = Record("id", "chat", "c", 0.0, 0.0, model=f"m{number}", backend=f"b{number}")
        record.phase = RequestPhase.DONE
        record.attempts = [Attempt(f"b{number}", "m", 0.0, 0.0)]
        tally([record])
    assert len(tally.rows) == MOST_ROWS + 1
    assert tally.rows["chat", OTHER, OTHER, OTHER, "done"].requests == MOST_ROWS
    assert len(tally.attempts) == MOST_ROWS + 1
    assert sum(tally.attempts.values()) == MOST_ROWS * 2
