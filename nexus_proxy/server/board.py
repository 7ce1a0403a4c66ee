"""How many connections each worker has: what workers share by memory, since it changes so often."""

from __future__ import annotations

import mmap
import os

BOARD = "board"
"""Name of its file in the folder of the workers."""
ABSENT = 0xFFFFFFFF


class Board:
    """How many connections each worker has, in memory that all of them map: `path` names a file
    of four bytes for each. A worker that does not run has `ABSENT`."""

    def __init__(self, path: str, count: int) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_size != 4 * count:
                os.ftruncate(handle, 4 * count)
            self._memory = mmap.mmap(handle, 4 * count)
        finally:
            os.close(handle)
        self._counts = memoryview(self._memory).cast("I")

    def write(self, worker: int, connections: int) -> None:
        """Say how many one has."""
        self._counts[worker] = connections

    def has_most(self, worker: int) -> bool:
        """Whether one has more connections than another that runs."""
        return self._counts[worker] > min(self._counts)
