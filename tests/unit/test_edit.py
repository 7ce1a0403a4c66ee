"""Splicing values into JSON objects: one value changes, every other byte stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects.edit import edit

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text(max_size=10), JSON)
LAYOUTS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"indent": 2}, {"separators": (" ,\t", "\r\n:")}, {"ensure_ascii": False}]
)


def written(value: Any, layout: dict[str, Any]) -> bytes:
    return json.dumps(value, **layout).encode()


@given(OBJECTS, st.text(max_size=20), LAYOUTS)
def test_a_value_is_replaced_where_it_stands(
    fields: dict[str, Any], name: str, layout: dict[str, Any]
) -> None:
    fields.pop("model", None)
    body = written({"first": 1, **fields, "model": "@old@", "last": {"model": 1}}, layout)
    before, after = body.split(b'"@old@"')
    assert (
        edit(body, {"model": name})
        == before + json.dumps(name, ensure_ascii=False).encode() + after
    )


@given(OBJECTS, LAYOUTS)
def test_a_value_that_is_new_comes_last_and_nothing_else_changes(
    fields: dict[str, Any], layout: dict[str, Any]
) -> None:
    fields.pop("stream", None)
    body = b" " + written(fields, layout) + b"\n"
    edited = edit(body, {"stream": True})
    assert json.loads(edited) == {**fields, "stream": True}
    addition = b',"stream":true' if fields else b'"stream":true'
    assert edited.replace(addition, b"", 1) == body


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","model":"b"}',
        b'{"x":1,"x":22,"model":"b"}',
        b'{"model":"a","x":1,"model":"bb"}',
        b'{"model":"b","mod\\u0065l":"b"}',
    ],
)
def test_a_name_that_comes_twice_comes_once_afterwards(body: bytes) -> None:
    edited = edit(body, {"model": "new"})
    assert json.loads(edited)["model"] == "new"
    assert edited.count(b'"new"') == 1
    assert b'"a"' not in edited
    assert b'"b"' not in edited


def test_an_escaped_name_is_found() -> None:
    assert edit(b'{"mod\\u0065l" : "a", "y":1.0e2}', {"model": "b"}) == (
        b'{"mod\\u0065l" : "b", "y":1.0e2}'
    )
