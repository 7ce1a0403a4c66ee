"""How many connections each worker has: what workers share by memory, since it changes so often."""

from __future__ import annotations

import mmap
import os

ABSENT = 0xFFFFFFFF
"""Of a worker that does not run."""


class Board:
    """Four bytes for each worker, in the file open at `handle`, which all of them map."""

    def __init__(self, handle: int, count: int) -> None:
        if os.fstat(handle).st_size != 4 * count:
            os.ftruncate(handle, 4 * count)
        self._counts = memoryview(mmap.mmap(handle, 4 * count)).cast("I")

    def write(self, worker: int, connections: int) -> None:
        """Say how many one has."""
        self._counts[worker] = connections

    def has_most(self, worker: int) -> bool:
        """Whether one has more connections than another that runs."""
        return self._counts[worker] > min(self._counts)
