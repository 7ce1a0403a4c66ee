"""Plain text for terminals: harmless, aligned, readable."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.cli.text import clean, milliseconds, table, uptime, width
from nexus_proxy.wording import plural
from tests.support.nasty_names import NASTY

DANGEROUS = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


@pytest.mark.parametrize("name", NASTY)
def test_hostile_names_become_harmless(name: str) -> None:
    shown = clean(name)
    assert len(shown) <= 200
    assert not {unicodedata.category(character) for character in shown} & DANGEROUS
    shown.encode()


@given(st.text())
def test_no_text_survives_with_a_control_character(text: str) -> None:
    assert not {unicodedata.category(character) for character in clean(text)} & DANGEROUS


@given(st.text(alphabet=st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_plain_text_is_left_alone(text: str) -> None:
    assert clean(text, longest=len(text) + 1) == text


@pytest.mark.parametrize(
    ("text", "cells"), [("", 0), ("abc", 3), ("漢字", 4), ("é", 1), ("e\u0301", 1), ("ｱ", 1)]
)
def test_width_is_in_terminal_cells(text: str, cells: int) -> None:
    assert width(text) == cells


def test_a_table_is_aligned_by_cells() -> None:
    lines = list(table(("NAME", "N"), [("漢字漢字", "1"), ("x", "22")], right=("N",)))
    assert lines == ["NAME       N", "漢字漢字   1", "x         22"]


def test_a_table_has_nothing_at_the_end_of_a_line() -> None:
    assert list(table(("A", "B"), [("long name", "")])) == ["A          B", "long name"]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min"), (3660, "1 h 1 min"), (93600, "1 d 2 h")],
)
def test_uptimes_are_in_the_unit_that_suits_them(seconds: float, said: str) -> None:
    assert uptime(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"), [(None, "-"), (0.4, "0 ms"), (999, "999 ms"), (1500, "1.5 s")]
)
def test_durations(value: float | None, said: str) -> None:
    assert milliseconds(value) == said


def test_one_is_singular() -> None:
    assert [plural(number, "model") for number in (0, 1, 2)] == ["0 models", "1 model", "2 models"]
