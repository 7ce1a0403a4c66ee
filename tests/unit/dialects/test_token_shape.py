"""What fits the shape of a token's event is one, whatever stands where the text is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects.openai_stream import TOKEN, read_chunk
from nexus_proxy.dialects.token_shape import TokenShape


def event(delta: dict[str, Any], **more: Any) -> bytes:
    """As servers send it, compact or not."""
    chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}], **more}
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"


KINDS = (
    event({"content": "a"}),
    event({"role": "assistant", "content": None, "reasoning_content": "a"}),
    event({"reasoning": "a"}, created=7, system_fingerprint="content"),
    event({"content": "a"}).replace(b'": ', b'":'),
    b'event: x\ndata: {"choices":[{"text":"a"}]}\n\n',
)
HOSTILE = (
    b'","finish_reason":"stop',
    b'"}}],"error":{"message":"x',
    b'\\"',
    b"\\",
    b'a\n\ndata: {"error":"',
    b"",
)


def learnt(kind: bytes) -> TokenShape:
    assert read_chunk(kind) is TOKEN
    shape = TokenShape()
    assert not shape.fits(kind)
    shape.learn(kind)
    assert shape.fits(kind)
    return shape


@pytest.mark.parametrize("kind", KINDS)
def test_another_text_is_known(kind: bytes) -> None:
    shape = learnt(kind)
    before, after = kind.rsplit(b"a", 1) if b'"text"' in kind else kind.split(b'"a"')
    if b'"text"' not in kind:
        before, after = before + b'"', b'"' + after
    for text in ("b", " the", "größer", "\u2028", "日本"):
        assert shape.fits(before + text.encode() + after)


@given(
    st.sampled_from(KINDS),
    st.one_of(
        st.binary(max_size=12), st.text(max_size=8).map(str.encode), st.sampled_from(HOSTILE)
    ),
    st.data(),
)
def test_what_fits_is_a_token(kind: bytes, put: bytes, data: st.DataObject) -> None:
    """Whatever bytes are put anywhere in the event, or in place of some of it."""
    shape = learnt(kind)
    start = data.draw(st.integers(0, len(kind)))
    end = data.draw(st.integers(start, min(len(kind), start + 3)))
    other = kind[:start] + put + kind[end:]
    try:
        other.decode()
    except UnicodeDecodeError:  # no server sends it, and readers differ
        return
    if shape.fits(other):
        assert read_chunk(other) is TOKEN
        assert other.count(b"\n\n") == 1
        assert b"\r" not in other


def test_what_cannot_be_told_is_left_to_the_reader() -> None:
    for strange in (
        event({"content": "a", "reasoning": "b"}),
        event({"content": 'a"b'}),
        event({"content": "a"}).replace(b"\n\n", b"\r\n\r\n"),
        event({"tool_calls": [{"index": 0, "function": {"arguments": "{"}}]}),
    ):
        shape = TokenShape()
        shape.learn(strange)
        assert not shape.fits(strange)


def test_the_shape_follows_the_stream() -> None:
    shape = learnt(event({"reasoning": "a"}))
    assert not shape.fits(event({"content": "a"}))
    shape.learn(event({"content": "a"}))
    assert shape.fits(event({"content": "z"}))
    shape.learn(event({"content": 'tell "me"'}))  # looks alike, but holds quotes
    assert shape.fits(event({"content": "z"}))
