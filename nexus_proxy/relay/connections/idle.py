"""Connections that wait for the next exchange, and the one timer that closes them in time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, Protocol, TypeVar

MAX_IDLE = 512
"""Idle connections kept per backend; they are closed after a few seconds anyway."""


class Reusable(Protocol):
    """A connection, as far as waiting goes."""

    closed: bool
    idle_since: float

    def abort(self) -> None:
        """Close at once."""


W = TypeVar("W", bound=Reusable)


class Idle(Generic[W]):
    """The idle connections of one backend, the newest taken first.

    One timer runs while there are any. It closes what is older than `seconds`, and so also what
    the backend closed: a backend that is not used again keeps no socket.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: deque[W] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, wire: W) -> None:
        """Keep a connection for the next exchange."""
        loop = asyncio.get_running_loop()
        wire.idle_since = loop.time()
        if len(self._waiting) >= MAX_IDLE:
            wire.abort()
            return
        self._waiting.append(wire)
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._sweep)

    def take(self) -> W | None:
        """One that is open and young enough to be trusted."""
        waiting = self._waiting
        if not waiting:
            return None
        oldest = asyncio.get_running_loop().time() - self._seconds
        while waiting:
            wire = waiting.pop()
            if not wire.closed and wire.idle_since >= oldest:
                return wire
            wire.abort()
        return None

    def close(self) -> None:
        """Close all of them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            self._waiting.pop().abort()

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._seconds
        waiting = self._waiting
        while waiting and waiting[0].idle_since <= oldest:
            waiting.popleft().abort()
        # Re-armed for the oldest left, not at each `put`: a busy backend's timer fires seldom.
        self._timer = (
            loop.call_at(waiting[0].idle_since + self._seconds, self._sweep) if waiting else None
        )
