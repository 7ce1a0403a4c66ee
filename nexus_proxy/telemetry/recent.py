"""The traffic of the last minutes, part by part, in constant memory: what the screen draws."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from nexus_proxy.state import Trend

PARTS = 150
SECONDS = 2.0
"""Length of a part: five minutes in all."""


class _Part(Struct):
    in_flight: int
    requests: int = 0
    failures: int = 0
    tokens: int = 0
    answers: int = 0
    first_token_ms: float = 0.0


class Recent:
    """Fed some times a second. All processes of a machine begin their parts at the same time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._index = int(clock() // SECONDS)
        self._level = 0
        self._parts = deque([_Part(0)], maxlen=PARTS)

    def note(
        self,
        *,
        requests: int,
        failures: int,
        tokens: int,
        first_tokens_ms: Sequence[float],
        in_flight: int,
        peak: int,
    ) -> None:
        """What has happened since the last time. `peak` is the most that ran at a time since then,
        `in_flight` what runs now."""
        part = self._current()
        part.requests += requests
        part.failures += failures
        part.tokens += tokens
        part.answers += len(first_tokens_ms)
        part.first_token_ms += sum(first_tokens_ms)
        part.in_flight = max(part.in_flight, peak)
        self._level = in_flight

    def trend(self) -> Trend:
        """All parts up to now."""
        self._current()
        parts = tuple(self._parts)
        return Trend(
            seconds=SECONDS,
            number=self._index,
            requests=tuple(part.requests for part in parts),
            failures=tuple(part.failures for part in parts),
            tokens=tuple(part.tokens for part in parts),
            in_flight=tuple(part.in_flight for part in parts),
            first_token_ms=tuple(
                round(part.first_token_ms / part.answers, 1) if part.answers else None
                for part in parts
            ),
        )

    def _current(self) -> _Part:
        index = int(self._clock() // SECONDS)
        for _ in range(min(index - self._index, PARTS)):
            self._parts.append(_Part(self._level))
        self._index = index
        return self._parts[-1]
