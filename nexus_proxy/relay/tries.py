"""Whom to try next, and after which pause."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from nexus_proxy.backends.base import Fault
from nexus_proxy.errors import ClockError, UpstreamError, UpstreamStatusError
from nexus_proxy.routing.types import Candidate

LONGEST_WAIT = 10.0
"""Seconds that a request waits for a backend that asked for it, when there is no other."""
FIRST_PAUSE = 0.25
"""Seconds before the first try at the same backend again; doubles, with jitter."""

_HOPELESS = (Fault.MODEL_MISSING, Fault.CREDENTIALS, Fault.UNSUPPORTED)
"""Faults that the same backend would only repeat."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt and whose fault it was."""

    error: UpstreamError
    fault: Fault


class Tries:
    """Candidates in the order of the schedule, each once; then, if attempts are left, those again
    whose failure allows it, after a pause."""

    def __init__(self, candidates: tuple[Candidate, ...], most: int) -> None:
        self._queue = list(candidates)
        self._most = most
        self._made = 0
        self._current: Candidate | None = None
        self._again: list[tuple[float, Candidate]] = []

    def __aiter__(self) -> Tries:
        return self

    async def __anext__(self) -> tuple[Candidate, int]:
        if self._made >= self._most:
            raise StopAsyncIteration
        if self._queue:
            self._current = self._queue.pop(0)
        elif self._again:
            self._again.sort(key=lambda pair: pair[0])
            wait, self._current = self._again.pop(0)
            await asyncio.sleep(wait)
        else:
            raise StopAsyncIteration
        self._made += 1
        return self._current, self._made - 1

    def note(self, failure: Failure) -> None:
        """Learn how the current try failed."""
        error, fault = failure.error, failure.fault
        if fault is Fault.CONTEXT_OVERFLOW:
            self._keep_larger()
            return
        repeatable = not isinstance(error, ClockError) or error.clock == "connect"
        if not repeatable or fault in _HOPELESS:
            return
        wait = FIRST_PAUSE * 2 ** (self._made - 1) * random.uniform(0.5, 1.5)
        asked = error.retry_after if isinstance(error, UpstreamStatusError) else None
        if asked is not None:
            wait = asked * random.uniform(1.0, 1.1)
        if wait <= LONGEST_WAIT and self._current is not None:
            self._again.append((wait, self._current))

    def _keep_larger(self) -> None:
        """After an overflow only a larger (or unknown) context is worth a try."""
        size = self._current.model.context_length if self._current else None
        self._again.clear()
        self._queue = [
            c
            for c in self._queue
            if c.model.context_length is None or size is None or c.model.context_length > size
        ]
