"""Columns of a live table, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")

GAP = 2
"""Cells between two columns."""


@dataclass(frozen=True, kw_only=True)
class Column(Generic[T]):
    """One column: a fixed width, or from `width` to `most` where it grows. The last of those shown
    takes all that is left if it grows: what is read across a wide gap is read wrongly.

    `priority` 0 is never dropped; of the others the highest goes first, from right to left.
    `sort` gives the raw value of a row; None in it sorts last.
    """

    title: str
    width: int
    priority: int = 0
    right: bool = False
    grow: bool = False
    most: int = 40
    sort: Callable[[T], Any] | None = None


Fitted = tuple[tuple[int, int], ...]
"""(index of the column, cells it gets) of the columns that are shown, left to right."""


def fit_columns(columns: Sequence[Column[T]], width: int) -> Fitted:
    """Which columns fit into `width` cells, and how wide each is."""
    shown = list(range(len(columns)))
    while _needed(columns, shown) > width:
        droppable = [index for index in shown if columns[index].priority]
        if not droppable:
            return _squeezed(columns, shown, width)
        shown.remove(max(droppable, key=lambda index: (columns[index].priority, index)))
    spare = width - _needed(columns, shown)
    widths = {index: columns[index].width for index in shown}
    room = {i: max(0, columns[i].most - columns[i].width) for i in shown if columns[i].grow}
    for place, index in enumerate(sorted(room, key=lambda index: room[index])):
        share = min(spare // (len(room) - place), room[index])
        widths[index] += share
        spare -= share
    if shown and shown[-1] in room:
        widths[shown[-1]] += spare
    return tuple(widths.items())


def _needed(columns: Sequence[Column[T]], shown: Sequence[int]) -> int:
    return sum(columns[index].width for index in shown) + GAP * (len(shown) - 1)


def _squeezed(columns: Sequence[Column[T]], shown: Sequence[int], width: int) -> Fitted:
    """What is left of the columns that may not be dropped: from the left, until it is full."""
    fitted = []
    for index in shown:
        taken = min(columns[index].width, width)
        if taken <= 0:
            break
        fitted.append((index, taken))
        width -= taken + GAP
    return tuple(fitted)
