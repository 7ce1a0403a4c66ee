"""The buckets of API keys that the workers of one gateway share, in memory that all of them map.

A bucket is one number (see `admission.bucket`), so a table of numbers is all there is: sixteen
bytes a bucket, found by the hash of its name. Monotonic time is the same for all processes of a
machine. A lock is held for microseconds; nobody waits longer than `LOCK_TRIES` for a process that
was stopped with it in hand, and one bucket may then be off by one request.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
from array import array
from collections.abc import MutableSequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from types import TracebackType

log = logging.getLogger(__name__)

ROOM = 8192
"""Buckets. Those of revoked keys keep their place until the gateway starts anew."""
LOCK_TRIES = 1000


class Cells(AbstractContextManager[None]):
    """The table in the file open at `handle`. As a context: for this process alone."""

    def __init__(self, handle: int, room: int = ROOM) -> None:
        self._handle, self._room = handle, room
        size = room * 16
        if os.fstat(handle).st_size < size:
            os.ftruncate(handle, size)
        memory = memoryview(mmap.mmap(handle, size))
        self._names, self._moments = memory[: size // 2].cast("Q"), memory[size // 2 :].cast("d")
        self._is_mine = False

    def cell(self, name: str) -> MutableSequence[float]:
        """The place of a bucket, of length one. Where the table is full: one of this process."""
        digest = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") or 1
        with self:
            for step in range(self._room):
                place = (digest + step) % self._room
                if self._names[place] in (0, digest):
                    self._names[place] = digest
                    return self._moments[place : place + 1]  # type: ignore[return-value]
        log.warning("there are more limits than workers can share: %s is each worker's own", name)
        return array("d", (0.0,))

    def __enter__(self) -> None:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.lockf(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            self._is_mine = True
            return

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_mine:
            self._is_mine = False
            fcntl.lockf(self._handle, fcntl.LOCK_UN)
