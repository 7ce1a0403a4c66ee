"""Text that grows, broken into rows as it comes: what is settled is never looked at again."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len

from nexus_tui.format import Cell, Tone
from nexus_tui.safe_text import clean_text

_WORD = re.compile(r" *[^ ]+| +")


class Flow:
    """Foreign text, made harmless, as `rows` of at most `width` cells.

    Rows break between words, and inside of a word that is longer than a row. In which pieces the
    text came makes no difference, and a piece costs no more than it is long.
    """

    def __init__(self, width: int) -> None:
        self.width = max(1, width)
        self.rows: list[Cell] = []
        self._blocks: list[tuple[Tone, list[str]]] = []
        self._open = False

    def add(self, text: str, tone: Tone = "") -> None:
        """Go on in the last row; another tone than before begins a new one."""
        if not self._blocks or self._blocks[-1][0] != tone:
            self._begin(tone)
        self._blocks[-1][1].append(text)
        self._lay(text, tone)

    def line(self, text: str, tone: Tone = "") -> None:
        """Say something in rows of its own."""
        self._begin(tone)
        self.add(text, tone)
        self._begin("")

    def clear(self) -> None:
        self.rows.clear()
        self._blocks.clear()

    def reflow(self, width: int) -> None:
        """Break everything anew."""
        self.width = max(1, width)
        self.rows.clear()
        for tone, pieces in self._blocks:
            self._open = False
            if pieces:
                self._lay("".join(pieces), tone)

    def _begin(self, tone: Tone) -> None:
        self._blocks.append((tone, []))
        self._open = False

    def _lay(self, text: str, tone: Tone) -> None:
        last = self.rows.pop().text if self._open else ""
        self._open = True
        for paragraph in clean_text(last + text).split("\n"):
            self.rows.extend(Cell(row, tone) for row in broken(paragraph, self.width))


def broken(text: str, width: int) -> Iterator[str]:
    """One line of harmless text in rows of at most `width` cells, spaces at their ends aside."""
    row, used = "", 0
    for word in _WORD.findall(text):
        cells = cell_len(word)
        if used + cells > width and word.strip():
            if row:
                yield row
                word = word.lstrip(" ")
                row, used, cells = "", 0, cell_len(word)
            if cells > width:
                *full, word = _folded(word, width)
                yield from full
                cells = cell_len(word)
        row, used = row + word, used + cells
    yield row


def _folded(word: str, width: int) -> list[str]:
    """A word in parts of `width` cells. What stands on a letter stays with it."""
    parts, used = [""], 0
    for character in word:
        cells = cell_len(character)
        if cells and used + cells > width and parts[-1]:
            parts.append("")
            used = 0
        parts[-1] += character
        used += cells
    return parts
