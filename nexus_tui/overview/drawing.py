"""Charts, meters, boxes and columns made of characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rich.cells import cell_len

from nexus_tui.format import Cell, Line, Tone
from nexus_tui.safe_text import fit
from nexus_tui.widgets.columns import GAP, Column, fit_columns

T = TypeVar("T")

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_MOST_ROWS = 8
_STEPS = {
    step: _EIGHTHS[min(8, max(0, step))] for step in range(-8 * _MOST_ROWS, 8 * _MOST_ROWS + 1)
}
"""The character for so many eighths above the foot of a row."""
_USED, _FREE = "━", "╌"


def bars(values: Sequence[float | None], width: int, height: int = 1) -> list[str]:
    """The last `width` values as bars of `height` rows, the newest on the right, from 0 to the
    largest. What is not 0 is never invisible; what is unknown always is."""
    shown = [value or 0.0 for value in values[-width:]] if width > 0 else []
    top = max(shown, default=0.0)
    steps = 8 * height
    levels = [max(1, round(value / top * steps)) if value > 0 else 0 for value in shown]
    padding = " " * (max(0, width) - len(levels))
    return [
        padding + "".join([_STEPS[level - 8 * row] for level in levels])
        for row in reversed(range(height))
    ]


def grouped(
    values: Sequence[T], size: int, number: int, join: Callable[[Sequence[T]], T]
) -> list[T]:
    """Every `size` values as one, the last group maybe smaller. `number` counts the last value, so
    that the same values meet in a group however far the series has moved on."""
    first = number + 1 - len(values)
    cuts = range(-(first % size), len(values), size)
    groups = (values[max(0, cut) : cut + size] for cut in cuts)
    return [join(group) for group in groups if group]


def meter(share: float, width: int) -> str:
    """How much of something is used; what is not nothing shows, and only what is full is full."""
    used = round(min(1.0, max(0.0, share)) * width)
    if 0 < share < 1 and width > 1:
        used = min(max(used, 1), width - 1)
    return _USED * used + _FREE * (width - used)


def length(line: Line) -> int:
    """Cells that a line takes."""
    return sum(cell_len(cell.text) for cell in line)


def padded(line: Line, width: int) -> Line:
    """A line of exactly `width` cells: cut, with an ellipsis, or filled up."""
    used = 0
    kept: list[Cell] = []
    for cell in line:
        size = cell_len(cell.text)
        if used + size > width:
            kept.append(Cell(fit(cell.text, width - used), cell.tone))
            return tuple(kept)
        kept.append(cell)
        used += size
    return (*kept, Cell(" " * (width - used))) if used < width else tuple(kept)


def tabulated(
    columns: Sequence[Column[Any]], rows: Sequence[Sequence[Cell]], width: int
) -> list[Line]:
    """Rows of cells as lines with their columns in step; those that do not fit are left out."""
    fitted = fit_columns(columns, width)
    gap = Cell(" " * GAP)
    lines = []
    for row in rows:
        cells: list[Cell] = []
        for index, size in fitted:
            text = fit(row[index].text, size, right=columns[index].right)
            cells += [Cell(text, row[index].tone), gap]
        lines.append(tuple(cells[:-1]))
    return lines


def headed(title: str, lines: Sequence[Line], width: int, height: int) -> list[Line]:
    """Lines below a rule with a title: `height` lines of `width` cells in all."""
    rule = "─" * max(0, width - cell_len(title) - 4)
    top = (Cell("─ ", "muted"), Cell(title, "accent"), Cell(f" {rule}─", "muted"))
    inner = [padded((Cell(" "), *line), width) for line in _filled(lines, height - 1)]
    return [padded(top, width), *inner]


def boxed(title: str, lines: Sequence[Line], width: int, height: int) -> list[Line]:
    """Lines in a box with a title: `height` lines of `width` cells in all."""
    rule = "─" * max(0, width - cell_len(title) - 5)
    top = (Cell("╭─ ", "muted"), Cell(title, "accent"), Cell(f" {rule}╮", "muted"))
    side = Cell("│", "muted")
    inner = [
        (side, *padded((Cell(" "), *line), width - 2), side) for line in _filled(lines, height - 2)
    ]
    return [padded(top, width), *inner, (Cell(f"╰{'─' * (width - 2)}╯", "muted"),)]


def beside(*blocks: Sequence[Line]) -> list[Line]:
    """Blocks of the same height next to each other."""
    gap = Cell(" ")
    return [
        tuple(
            cell for number, line in enumerate(row) for cell in ((gap, *line) if number else line)
        )
        for row in zip(*blocks, strict=True)
    ]


def shortened(lines: Sequence[Line], most: int, more: str) -> list[Line]:
    """At most `most` lines; the last one says how many others there are: `… 12 more: 2 shows them`.
    `more` says where they are."""
    if len(lines) <= most:
        return list(lines)
    if most <= 0:
        return []
    left = len(lines) - most + 1
    return [*lines[: most - 1], (Cell(f"… {left:,} more: {more}", "muted"),)]


def said(text: str, tone: Tone = "") -> Line:
    """A line that is one sentence."""
    return (Cell(text, tone),)


def _filled(lines: Sequence[Line], height: int) -> list[Line]:
    return [*lines[:height], *([()] * (height - len(lines)))]
