"""The only subscriber to the gateway: many events in, at most four snapshots a second out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.source.base import Source

INTERVAL = 0.25
"""Seconds between two ticks, hence between two redraws."""
_SHARE = 0.04
"""Of the loop, which the gateway needs, that a screen may take."""
_DRAWING = 3.0
"""What a snapshot costs with all that is drawn of it, in snapshots; measured under load."""
_LONGEST_REST = 7
"""Ticks."""
_CLOCK_TICKS = 4
"""Ticks after which the screen is redrawn although nothing happened: clocks go on."""


class Bridge:
    """Marks dirty on any event and delivers a snapshot on the next tick.

    What a snapshot costs grows with the load, so the dearer the last one was, the longer the
    screen rests.

    The owner calls `tick` every `INTERVAL` seconds, and `delivered` once a snapshot is on the
    screen; until then ticks deliver nothing, so a slow terminal never makes a queue grow.
    """

    def __init__(self, source: Source, deliver: Callable[[Snapshot], object]) -> None:
        self._source = source
        self._deliver = deliver
        self._dirty = True
        self._waiting = False
        self._ticks = self._rest = 0
        self._revision = source.revision()
        self._unsubscribe = source.subscribe(self._mark)

    def tick(self) -> None:
        """Deliver a snapshot if something changed, or if a second has passed."""
        self._ticks += 1
        revision = self._source.revision()
        if revision != self._revision:
            self._revision, self._dirty = revision, True
        if self._rest > 0:
            self._rest -= 1
            return
        if self._waiting or not (self._dirty or self._ticks >= _CLOCK_TICKS):
            return
        self._dirty, self._waiting, self._ticks = False, True, 0
        began = time.perf_counter()
        taken = self._source.snapshot()
        cost = (time.perf_counter() - began) * _DRAWING
        self._rest = min(int(cost / _SHARE / INTERVAL), _LONGEST_REST)
        self._deliver(taken)

    def delivered(self) -> None:
        """The last snapshot was drawn."""
        self._waiting = False

    def close(self) -> None:
        self._unsubscribe()

    def _mark(self) -> None:
        self._dirty = True
