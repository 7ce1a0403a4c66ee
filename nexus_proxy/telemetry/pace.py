"""How fast each backend has been lately: the last minutes in equal parts, for sparklines.

Fed from the batch of ended requests, in plain numbers, off the way of any request. A request
counts in the part in which it ended, with all its tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nexus_proxy.state import BackendTrend
from nexus_proxy.telemetry.history import Record

SECONDS = 40
"""Of one part."""
PARTS = 15


class _Part:
    """What one backend did in one part."""

    __slots__ = ("first_ms", "firsts", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = self.tokens = self.firsts = 0
        self.first_ms = 0.0


class Pace:
    """A reader of `History`. Forgets what is older than `PARTS`, so that memory is bounded by the
    backends that served lately. Parts are numbered by wall-clock time, for the numbers of several
    processes to agree; a clock that is set back loses those that lie in the future then."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._number = -1
        self._parts: dict[str, dict[int, _Part]] = {}
        self._trends: dict[str, BackendTrend] = {}

    def __call__(self, ended: Sequence[Record]) -> None:
        """Count the requests that ended."""
        self._go_on()
        for record in ended:
            if record.backend is not None:
                self._trends.pop(record.backend, None)
                self._note(record.backend, record)

    def trends(self) -> dict[str, BackendTrend]:
        """By backend; only those that served lately."""
        self._go_on()
        for name in self._parts.keys() - self._trends.keys():
            self._trends[name] = self._trend(self._parts[name])
        return dict(self._trends)

    # -- inside --------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Begin a new part if it is time to."""
        number = int(self._clock() // SECONDS)
        if number == self._number:
            return
        self._number = number
        self._trends.clear()
        left = {name: self._lately(parts) for name, parts in self._parts.items()}
        self._parts = {name: parts for name, parts in left.items() if parts}

    def _lately(self, parts: dict[int, _Part]) -> dict[int, _Part]:
        oldest = self._number - PARTS + 1
        return {n: part for n, part in parts.items() if oldest <= n <= self._number}

    def _note(self, name: str, record: Record) -> None:
        part = self._parts.setdefault(name, {}).setdefault(self._number, _Part())
        part.requests += 1
        part.tokens += record.completion_tokens or 0
        # What the backend took, and not what the request waited for others before.
        first = record.attempts[-1].first_token_ms if record.attempts else None
        if first is not None:
            part.firsts += 1
            part.first_ms += first

    def _trend(self, parts: dict[int, _Part]) -> BackendTrend:
        lately = [parts.get(n) for n in range(self._number - PARTS + 1, self._number + 1)]
        return BackendTrend(
            seconds=SECONDS,
            requests=tuple(0 if part is None else part.requests for part in lately),
            first_token_ms=tuple(
                round(part.first_ms / part.firsts, 1) if part is not None and part.firsts else None
                for part in lately
            ),
            tokens_per_second=tuple(
                0.0 if part is None else round(part.tokens / SECONDS, 2) for part in lately
            ),
        )
