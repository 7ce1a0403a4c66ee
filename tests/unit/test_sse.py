"""Splitting event streams: bytes in, the same bytes out, wherever the network cut them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects.sse import EventSplitter, payload

LINE = st.text(
    alphabet=st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30
)
NEWLINE = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Events and the bytes of the stream that holds them, with one newline style throughout."""
    newline = draw(NEWLINE)
    events = []
    for lines in draw(st.lists(st.lists(LINE.filter(bool), min_size=1, max_size=3), max_size=5)):
        body = newline.join(f"data: {line}" for line in lines)
        events.append((body + newline * 2).encode())
    return events, b"".join(events)


@st.composite
def cuts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    points = sorted(draw(st.sets(st.integers(0, len(data)), max_size=12)))
    edges = [0, *points, len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.data())
def test_events_come_out_whole_however_the_stream_is_cut(data: st.DataObject) -> None:
    events, stream = data.draw(streams())
    splitter = EventSplitter()
    got = [event for chunk in data.draw(cuts(stream)) for event in splitter.feed(chunk)]
    whole = b"".join(got) + splitter.rest()
    assert whole == stream
    expected = [payload(event) for event in events]
    pending = payload(splitter.rest()) if splitter.rest().strip() else None
    # A stream in lone CRs may owe its last event to a byte that never came.
    assert [payload(event) for event in got] + ([pending] if pending else []) == expected


@given(st.binary(max_size=200), st.data())
def test_no_byte_is_lost_of_any_input(raw: bytes, data: st.DataObject) -> None:
    splitter = EventSplitter()
    got = b"".join(e for chunk in data.draw(cuts(raw)) for e in splitter.feed(chunk))
    assert got + splitter.rest() == raw


def test_text_separators_inside_json_do_not_split() -> None:
    event = 'data: {"content":"a\u2028b\u2029c\x85d\x0be"}\n\n'.encode()
    assert EventSplitter().feed(event) == [event]
    assert payload(event) == event[6:-2]


def test_data_lines_are_joined_and_comments_hold_nothing() -> None:
    assert payload(b"event: x\ndata: one\ndata:two\n\n") == b"one\ntwo"
    assert payload(b"event: x\ndata: one\n\n") == b"one"
    assert payload(b"event: data: x\rdata: one\n\n") == b"one"
    assert payload(b"data:\ndata: one\n\n") == b"\none"
    assert payload(b": ping\n\n") is None
    assert payload(b"data: [DONE]\n\n") == b"[DONE]"


def test_an_event_in_many_chunks_costs_no_more_than_its_length() -> None:
    splitter = EventSplitter()
    for _ in range(20_000):
        assert splitter.feed(b"x" * 4096) == []
    assert splitter.pending == 20_000 * 4096
    (event,) = splitter.feed(b"\n\n")
    assert len(event) == 20_000 * 4096 + 2
    assert splitter.pending == 0
