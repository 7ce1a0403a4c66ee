"""Which panels the overview has in a terminal of some size, and where each of them stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from nexus_tui.format import Line, Moment
from nexus_tui.overview.drawing import beside, boxed, headed, shortened
from nexus_tui.overview.panels import (
    HEADED,
    address,
    backends,
    logs,
    models,
    requests,
    spending,
    traffic,
    troubles,
    window,
)

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

TWO_COLUMNS, THREE_COLUMNS = 110, 180
"""Cells from which on panels stand beside each other."""
_HIGH = 16
"""Lines from which on that has a point; in fewer, their frames would be all there is."""
_BOX = 2
"""Lines that a box takes for itself; its sides and their margin take twice as many cells."""
_MOST_TROUBLES, _FEWEST_TROUBLES = 3, 2
_TALLEST_CHART = 6
_LOW = 15
"""Lines below which only what is told nowhere else has a place: the header has the address."""
_LEAST_LOG = 6
"""Lines from which on a box with the log has a point."""
_ROOMY = 34
"""Lines from which on one column has room for taller charts."""


class Spot(NamedTuple):
    """A rectangle that leads to a tab: lines `top` to `bottom`, cells `left` to `right`, ends
    excluded."""

    pane: str
    top: int
    bottom: int
    left: int
    right: int


class Drawing(NamedTuple):
    """The overview: its lines, and what a click on them leads to."""

    lines: list[Line]
    spots: list[Spot]
    has_address: bool
    """Its first line is the address."""


class _Panel(NamedTuple):
    pane: str
    title: str
    draw: Callable[[Snapshot, int, int, Moment], list[Line]]


_BACKENDS = _Panel("backends", "2 Backends", backends)
_MODELS = _Panel("models", "3 Models, last 5 minutes", models)
_REQUESTS = _Panel("requests", "4 Requests", requests)
_LOGS = _Panel("logs", "8 Logs", logs)


def overview(snapshot: Snapshot, width: int, height: int, *, absolute: bool = False) -> Drawing:
    """The first screen in `width` × `height` cells. `absolute`: times by the clock."""
    sheet = _Sheet(snapshot, width, height, Moment(snapshot.taken_at, absolute))
    if width < TWO_COLUMNS or sheet.left < _HIGH:
        _one_column(sheet)
    elif width < THREE_COLUMNS:
        _two_columns(sheet)
    else:
        _three_columns(sheet)
    sheet.lines += [()] * (height - len(sheet.lines))
    return Drawing(sheet.lines[:height], sheet.spots, height >= _LOW)


class _Sheet:
    """Is filled from top to bottom."""

    def __init__(self, snapshot: Snapshot, width: int, height: int, moment: Moment) -> None:
        self.snapshot, self.width, self._height = snapshot, width, height
        self._moment = moment
        self.lines: list[Line] = [address(snapshot, width)] if height >= _LOW else []
        self.spots: list[Spot] = []
        if wrong := troubles(snapshot):
            shown = shortened(
                wrong, _MOST_TROUBLES if height >= _LOW else _FEWEST_TROUBLES, "8 is the log"
            )
            title = "What is wrong" if snapshot.problems else "Worth a look"
            self.section(_Panel("logs", title, lambda *_: shown), len(shown) + 1)

    @property
    def left(self) -> int:
        """Lines that are still free."""
        return self._height - len(self.lines)

    def section(self, panel: _Panel, height: int) -> None:
        """A panel over the whole width, below a rule."""
        if min(height, self.left) > 1:
            self._note(panel, len(self.lines), height, 0, self.width)
            inner = panel.draw(self.snapshot, self.width - 2, height - 1, self._moment)
            self.lines += headed(panel.title, inner, self.width, height)

    def boxes(self, columns: Sequence[tuple[int, Sequence[tuple[_Panel, int]]]]) -> None:
        """Columns of boxes, each with its width and, from top to bottom, its panels with their
        heights. All columns are equally high."""
        drawn, left = [], 0
        for width, panels in columns:
            column: list[Line] = []
            for panel, height in panels:
                self._note(panel, len(self.lines) + len(column), height, left, width)
                inner = panel.draw(self.snapshot, width - 2 * _BOX, height - _BOX, self._moment)
                column += boxed(panel.title, inner, width, height)
            drawn.append(column)
            left += width + 1
        self.lines += beside(*drawn)

    def traffic(self, width: int) -> _Panel:
        """The charts, whose title says how far back they go."""
        _, minutes = window(self.snapshot.trend, width)
        return _Panel("requests", f"Traffic, last {minutes:.0f} minutes", traffic)

    def _note(self, panel: _Panel, top: int, height: int, left: int, width: int) -> None:
        self.spots.append(Spot(panel.pane, top, top + height, left, left + width))


def _one_column(sheet: _Sheet) -> None:
    tall = 2 if sheet.left >= _ROOMY else 1
    spend = len(spending(sheet.snapshot.budget, sheet.width))
    sheet.section(sheet.traffic(sheet.width - 2), 1 + 4 * tall + spend)
    rows = max(2, sheet.left // 2 + 1 if tall == 1 else sheet.left // 3)
    sheet.section(_BACKENDS, min(rows, len(sheet.snapshot.backends) + 1))
    if tall > 1:
        sheet.section(_MODELS, sheet.left // 2)
    sheet.section(_REQUESTS, sheet.left)


def _two_columns(sheet: _Sheet) -> None:
    left = sheet.width // 2
    right = sheet.width - left - 1
    top = _traffic_height(sheet, sheet.left // 2)
    bottom = sheet.left - top
    charts = (sheet.traffic(left - 2 * _BOX), top)
    sheet.boxes(
        [
            (left, [charts, *_backends_and_log(sheet, bottom)]),
            (right, [(_REQUESTS, top), (_MODELS, bottom)]),
        ]
    )


def _three_columns(sheet: _Sheet) -> None:
    width, height = sheet.width // 3, sheet.left
    top = _traffic_height(sheet, height * 2 // 3)
    rest = sheet.width - 2 * width - 2
    sheet.boxes(
        [
            (width, [(sheet.traffic(width - 2 * _BOX), top), (_MODELS, height - top)]),
            (width, _backends_and_log(sheet, height)),
            (rest, [(_REQUESTS, height)]),
        ]
    )


def _backends_and_log(sheet: _Sheet, height: int) -> Sequence[tuple[_Panel, int]]:
    """The backends and, in what room they leave, the log."""
    rows = len(sheet.snapshot.backends)
    needed = _BOX + rows + (rows + 1 >= HEADED)
    if height - needed < _LEAST_LOG:
        return [(_BACKENDS, height)]
    return [(_BACKENDS, needed), (_LOGS, height - needed)]


def _traffic_height(sheet: _Sheet, room: int) -> int:
    """Of the box with the charts: as much of `room` as it has use for."""
    spend = len(spending(sheet.snapshot.budget, sheet.width))
    tall = min(_TALLEST_CHART, (room - _BOX - spend) // 4)
    return _BOX + 4 * max(1, tall) + spend
