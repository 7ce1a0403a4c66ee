"""Whom to try next, and after which pause."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from nexus_proxy.backends.base import Fault
from nexus_proxy.errors import ClockError, NexusError, UpstreamStatusError
from nexus_proxy.routing.types import Candidate

LONGEST_WAIT = 10.0
"""Seconds that a request waits for a backend that asked for it, when there is no other."""
FIRST_PAUSE = 0.25
"""Seconds before the first try at the same backend again; doubles, with jitter."""
LONGEST_LOADING_PAUSE = 5.0
"""Seconds between two questions whether a model is loaded by now."""

_HOPELESS = (Fault.MODEL_MISSING, Fault.CREDENTIALS, Fault.UNSUPPORTED)
"""Faults that the same backend would only repeat."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt and whose fault it was."""

    error: NexusError
    fault: Fault


class Retries:
    """Candidates in the order of the schedule, each once; then, if attempts are left, those again
    whose failure allows it, after a pause.

    Waiting for a model that is being loaded costs no attempt, until `loaded_by`, in monotonic
    seconds.

    Attributes:
        others: how many attempts other backends have had than the one that is tried now.

    Args:
        most: how many attempts there are.
        allowed: whether a candidate may still be asked, when its turn comes.
        pause: waits for so many seconds.
    """

    __slots__ = (
        "_again",
        "_allowed",
        "_asked",
        "_current",
        "_loaded_by",
        "_made",
        "_most",
        "_pause",
        "_queue",
        "others",
    )

    def __init__(
        self,
        candidates: tuple[Candidate, ...],
        most: int,
        *,
        allowed: Callable[[Candidate], bool],
        pause: Callable[[float], Awaitable[None]],
        loaded_by: float,
    ) -> None:
        self._queue = list(candidates)
        self._most = most
        self._allowed = allowed
        self._pause = pause
        self._loaded_by = loaded_by
        self._made = self.others = 0
        self._asked: list[str] = []
        self._current: Candidate | None = None
        self._again: list[tuple[float, Candidate]] = []

    async def next(self) -> Candidate | None:
        """The next candidate, maybe after a pause; None: there is none, or no attempt is left."""
        while self._made < self._most:
            candidate = self._queue.pop(0) if self._queue else await self._one_again()
            if candidate is None:
                return None
            # The first one was decided on just now.
            if self._made and not self._allowed(candidate):
                continue
            self._made += 1
            self._current, name = candidate, candidate.backend.name
            if self._asked:
                self.others = sum(asked != name for asked in self._asked)
            self._asked.append(name)
            return candidate
        return None

    def pass_over(self) -> None:
        """The current one was not asked after all: it is busy. That costs no attempt."""
        self._made -= 1
        self._asked.pop()

    def note(self, failure: Failure) -> None:
        """Learn how the current try failed."""
        error, fault = failure.error, failure.fault
        if fault is Fault.CONTEXT_OVERFLOW:
            self._keep_larger()
            return
        repeatable = not isinstance(error, ClockError) or error.clock == "connect"
        if not repeatable or fault in _HOPELESS or self._current is None:
            return
        wait = FIRST_PAUSE * 2 ** (self._made - 1) * random.uniform(0.5, 1.5)
        asked = error.retry_after if isinstance(error, UpstreamStatusError) else None
        if asked is not None:
            wait = asked * random.uniform(1.0, 1.1)
        if fault is Fault.LOADING and time.monotonic() + wait < self._loaded_by:
            self._most += 1
            wait = min(wait, LONGEST_LOADING_PAUSE)
        if wait <= LONGEST_WAIT:
            self._again.append((wait, self._current))

    async def _one_again(self) -> Candidate | None:
        if not self._again:
            return None
        self._again.sort(key=lambda pair: pair[0])
        wait, candidate = self._again.pop(0)
        await self._pause(wait)
        return candidate

    def _keep_larger(self) -> None:
        """After an overflow only a larger (or unknown) context is worth a try."""
        size = self._current.model.context_length if self._current else None
        self._again.clear()
        self._queue = [
            c
            for c in self._queue
            if c.model.context_length is None or size is None or c.model.context_length > size
        ]
