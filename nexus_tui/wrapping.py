"""Lines of cells broken to a width, between words where that can be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from rich.cells import cell_len, chop_cells

from nexus_tui.format import Cell, Line

_NARROWEST = 20
"""Cells that a wrapped line keeps for its text, however wide its first cell is."""
_PIECE = re.compile(r" *[^ ]+| +")


def wrapped(lines: Iterable[Line], width: int) -> list[Line]:
    """Lines of at most `width` cells; what goes on starts below the line's second cell."""
    width = max(2, width)  # a terminal on its way to another size leaves less than nothing
    return [part for line in lines for part in _broken(line, width)]


def _broken(line: Line, width: int) -> Sequence[Line]:
    if sum(cell_len(cell.text) for cell in line) <= width:
        return [line]
    head, rest = _parted(line)
    indent = cell_len(head.text)
    if indent > max(0, width - _NARROWEST):  # the first cell is itself a long text
        head, rest, indent = Cell(""), line, 0
    margin = Cell(" " * indent)
    rows = _filled(_words(rest), width - indent)
    return [(margin if number else head, *row) for number, row in enumerate(rows)]


def _parted(line: Line) -> tuple[Cell, Line]:
    """What the others start below, and what is broken."""
    if len(line) > 1:
        return line[0], line[1:]
    text = line[0].text.lstrip(" ")
    return Cell(" " * (len(line[0].text) - len(text))), (Cell(text, line[0].tone),)


def _words(line: Line) -> Sequence[list[Cell]]:
    """Words with the spaces before them. A word may be of several tones."""
    words: list[list[Cell]] = []
    for cell in line:
        for piece in _PIECE.findall(cell.text):
            if words and not piece.startswith(" "):
                words[-1].append(Cell(piece, cell.tone))
            else:
                words.append([Cell(piece, cell.tone)])
    return words


def _filled(words: Iterable[list[Cell]], room: int) -> Iterator[Line]:
    row: list[Cell] = []
    left = room
    for word in words:
        size = sum(cell_len(cell.text) for cell in word)
        if size > left and row:
            yield _joined(row)
            row, left = [], room
            word = [Cell(word[0].text.lstrip(" "), word[0].tone), *word[1:]]
        for cell in word:
            text = cell.text
            if cell_len(text) > left:  # longer than a whole row, or of many pieces
                *full, text = chop_cells(text, room)
                for part in (row, *([Cell(one, cell.tone)] for one in full)):
                    if part:
                        yield _joined(part)
                row, left = [], room
            row.append(Cell(text, cell.tone))
            left -= cell_len(text)
    if row:
        yield _joined(row)


def _joined(row: Iterable[Cell]) -> Line:
    """Neighbours of one tone as one cell."""
    tones = groupby(row, key=lambda cell: cell.tone)
    return tuple(Cell("".join(cell.text for cell in cells), tone) for tone, cells in tones)
