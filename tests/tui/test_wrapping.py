"""Long lines of stories, broken to the width there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nexus_tui.format import Cell
from nexus_tui.safe_text import clean
from nexus_tui.wrapping import wrapped

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60).map(clean)


def texts(*cells: Cell, width: int) -> list[str]:
    return ["".join(cell.text for cell in line) for line in wrapped([cells], width)]


def test_what_goes_on_starts_below_the_second_cell() -> None:
    shown = texts(
        Cell("  error    ", "muted"), Cell("closed before the answer was whole"), width=32
    )
    assert shown == ["  error    closed before the", "           answer was whole"]


def test_a_sentence_that_is_indented_stays_so() -> None:
    assert texts(Cell("  one two three four five six"), width=24) == [
        "  one two three four",
        "  five six",
    ]


def test_tones_stay_with_their_words_and_a_word_of_two_tones_is_whole() -> None:
    line = (Cell("at    ", "muted"), Cell("15:06:04"), Cell(", 36 whole seconds ago", "muted"))
    first, second = wrapped([line], 27)
    assert first == (Cell("at    ", "muted"), Cell("15:06:04"), Cell(", 36 whole", "muted"))
    assert second == (Cell(" " * 6), Cell("seconds ago", "muted"))


@given(st.lists(TEXT, min_size=1, max_size=4), st.integers(1, 90))
def test_every_line_fits_and_no_character_is_lost(parts: list[str], width: int) -> None:
    lines = texts(*map(Cell, parts), width=width)
    assert all(cell_len(line) <= max(2, width) for line in lines)
    kept = "".join(lines).replace(" ", "")
    assert kept == "".join(parts).replace(" ", "")
