"""A month of spend as bars, one a day."""

from __future__ import annotations

import calendar
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from textual.content import Content
from textual.widget import Widget

from nexus_proxy.accounting.money import money
from nexus_proxy.state import SpendRow, SpendSummary
from nexus_tui.format import Cell, Line, Tone
from nexus_tui.themes import paint

MEASURED, ESTIMATED, UNKNOWN, FREE = Cell("█", "accent"), Cell("▒", "info"), Cell("?", "warn"), "·"
_EIGHTHS = ("", "▁", "▂", "▃", "▄", "▅", "▆", "▇")
_WIDEST_DAY = 6
_AXIS = 2
"""Rows below the bars: the line, and the numbers of the days."""
_LABELLED = frozenset((1, 5, 10, 15, 20, 25, 30))
"""Days that have a number where there is no room for all."""


def day_chart(spend: SpendSummary, width: int, height: int) -> Sequence[Line]:
    """The days of a month from left to right, today marked by `▲`: `█` is measured, `▒` estimated,
    `?` on top stands for requests of unknown price, `·` for those that cost nothing. Empty where
    `width` and `height` (cells) leave no room."""
    top = max(map(usd, spend.days), default=0.0)
    scale = money(top)
    year, month = map(int, spend.month.split("-"))
    last = calendar.monthrange(year, month)[1]
    step = min(_WIDEST_DAY, (width - len(scale) - 2) // last)
    rows = height - _AXIS
    if step < 1 or rows < 1:
        return ()
    bars = [_stack(day, top, rows) for day in spend.days]
    thickness = max(1, step - 1)
    lines = []
    for row in reversed(range(rows)):
        cells = (bar[row] if row < len(bar) else Cell(" ") for bar in bars)
        drawn = (Cell((cell.text * thickness).ljust(step), cell.tone) for cell in cells)
        label = scale if row == rows - 1 else ""
        lines.append((Cell(f"{label:>{len(scale)}} ", "muted"), *_joined(drawn)))
    today = int(spend.today[8:]) if spend.today.startswith(spend.month) else None
    margin = Cell(f"{'$0':>{len(scale)}} ", "muted")
    lines.append((margin, *_axis(last, today, step)))
    lines.append((Cell(" " * len(margin.text)), *_numbers(last, today, step)))
    return lines


def usd(row: SpendRow) -> float:
    """What is known to have been spent."""
    return row.usd_measured + row.usd_estimated


def _stack(day: SpendRow, top: float, rows: int) -> Sequence[Cell]:
    """One day from the bottom up. Nothing that was spent is too small to be seen, and no estimate
    hides behind what was measured."""
    above = [UNKNOWN] if day.unknown_requests else []
    room = rows - len(above)
    if not usd(day) or not room:
        return above or ([Cell(FREE, "muted")] if day.requests else [])
    eighths = min(room * 8, max(1, round(usd(day) / top * rows * 8)))
    full, rest = divmod(eighths, 8)
    if day.usd_estimated:
        height = full + bool(rest)
        sure = min(round(day.usd_measured / top * rows), height - 1)
        bar = [MEASURED] * sure + [ESTIMATED] * (height - sure)
    else:
        bar = [MEASURED] * full + [Cell(_EIGHTHS[rest], MEASURED.tone)] * bool(rest)
    return [*bar, *above]


def _axis(last: int, today: int | None, step: int) -> Iterator[Cell]:
    thickness = max(1, step - 1)
    for day in range(1, last + 1):
        mark = "▲" * thickness if day == today else "─" * thickness
        yield Cell(mark.ljust(step, "─"), "strong" if day == today else "muted")


def _numbers(last: int, today: int | None, step: int) -> Iterator[Cell]:
    """Numbers of days below their bars, today's before all others."""
    wanted = [day for day in range(1, last + 1) if step > len("30") or day in _LABELLED]
    taken = [] if today is None else [today]
    taken += [day for day in wanted if today is None or abs(day - today) * step > len("30")]
    at = 0
    for day in sorted(taken):
        gap = (day - 1) * step - at
        yield Cell(" " * gap + str(day), "strong" if day == today else "muted")
        at += gap + len(str(day))


def _joined(cells: Iterable[Cell]) -> Iterator[Cell]:
    """Neighbours of the same tone as one."""
    for tone, group in groupby(cells, key=_tone):
        yield Cell("".join(cell.text for cell in group), tone)


def _tone(cell: Cell) -> Tone:
    return cell.tone


class SpendChart(Widget):
    """Draws itself again only when the figures or its size changed."""

    def __init__(self) -> None:
        super().__init__()
        self._spend: SpendSummary | None = None
        self._content = Content()

    def show(self, spend: SpendSummary) -> None:
        """Draw this month from now on."""
        if spend != self._spend:
            self._spend = spend
            self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def _redraw(self) -> None:
        if self._spend is not None:
            width, height = self.content_size
            self._content = paint(day_chart(self._spend, width, height))
            self.refresh()

    def render(self) -> Content:
        return self._content
