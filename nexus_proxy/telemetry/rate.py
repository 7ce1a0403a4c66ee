"""How often something happens, over the last ten seconds, in constant memory."""

from __future__ import annotations

import time
from collections.abc import Callable

WINDOW = 10
"""Seconds."""


class Rate:
    """Counts per second over the last `WINDOW` whole seconds and the running one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts = [0] * (WINDOW + 1)
        self._second = int(clock())

    def add(self, count: int) -> None:
        """`count` more happened now."""
        self._forget()
        self._counts[self._second % len(self._counts)] += count

    def per_second(self) -> float:
        """The mean over the window."""
        self._forget()
        return sum(self._counts) / WINDOW

    def _forget(self) -> None:
        now = int(self._clock())
        if now <= self._second:
            return
        for second in range(self._second + 1, min(now, self._second + len(self._counts)) + 1):
            self._counts[second % len(self._counts)] = 0
        self._second = now
