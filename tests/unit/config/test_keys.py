from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.config.keys import KeyPath, dotted, literal, named, nearest, quoted

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(VALUES)
def test_a_literal_reads_back_and_is_harmless_on_a_screen(value: Any) -> None:
    text = literal(value)
    assert tomllib.loads(f"x = {text}") == {"x": value}
    assert text.isprintable()


@given(st.lists(TEXT, min_size=1, max_size=3))
def test_dotted_keys_are_toml(parts: list[str]) -> None:
    tree: Any = tomllib.loads(f"{dotted(tuple(parts))} = 1")
    for part in parts:
        tree = tree[part]
    assert tree == 1


def test_dotted_shows_positions() -> None:
    assert dotted(("backends", 0, "models", 1)) == "backends[0].models[1]"
    assert quoted("a.b") == '"a.b"'


@pytest.mark.parametrize(
    ("path", "tree", "found"),
    [
        (("backends", 0, "url"), {"backends": [{"name": "a"}]}, ("backends", "a", "url")),
        (("backends", 0), {"backends": [{"name": "a"}, {"name": "a"}]}, ("backends", 0)),
        (("backends", 0), {"backends": [{"name": 1}]}, ("backends", 0)),
        (("backends", 0), {"backends": [1]}, ("backends", 0)),
        (("backends", 1), {"backends": {"x": 1}}, ("backends", 1)),
        (("backends",), {}, ("backends",)),
        (("other", 0), {}, ("other", 0)),
    ],
)
def test_backends_go_by_name_where_that_is_clear(
    path: KeyPath, tree: dict[str, Any], found: KeyPath
) -> None:
    assert named(path, tree) == found


def test_the_nearest_name_in_any_case() -> None:
    assert nearest("PROT", ["port", "host"]) == "port"
    assert nearest("zzz", ["port", "host"]) is None
