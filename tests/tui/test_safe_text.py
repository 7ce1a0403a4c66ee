from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nexus_tui.safe_text import MAX_LENGTH, clean, fit
from tests.support.nasty_names import NASTY

FORBIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}

any_text = st.one_of(st.text(st.characters()), st.sampled_from(NASTY))


@given(any_text)
def test_nothing_invisible_or_controlling_is_left(text: str) -> None:
    shown = clean(text)
    assert not [c for c in shown if unicodedata.category(c) in FORBIDDEN]
    assert len(shown) <= MAX_LENGTH + 1
    shown.encode()


@given(any_text)
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean(clean(text)) == clean(text)


@given(any_text, st.integers(0, 60), st.booleans())
def test_fit_gives_exactly_the_cells_asked_for(text: str, width: int, right: bool) -> None:
    assert cell_len(fit(clean(text), width, right=right)) == width


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("qwen3:8b", "qwen3:8b"),
        ("x[/foo]", "x[/foo]"),
        ("two\nlines", "two lines"),
        ("\x1b[31mred", "·[31mred"),
        ("\u202emoc", "moc"),
        ("漢字", "漢字"),
        ("עברית", "עברית"),
        ("e" + "\u0301" * 9, "e\u0301\u0301"),
        ("\ud800", "·"),
    ],
)
def test_what_is_left(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_what_is_cut_off_shows() -> None:
    assert fit("llamacpp-attic", 8) == "llamacp…"
    assert fit("7", 3, right=True) == "  7"
    assert fit("漢字かな", 4) == "漢 …"
