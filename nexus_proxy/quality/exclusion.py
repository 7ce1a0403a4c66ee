"""When a backend is left out for a model, and how it comes back: a circuit breaker.

In use, until at least `quality.error_rate_threshold` of its last outcomes were faults. They are
the last 20, none older than an hour: counted rather than timed, so that a busy backend that breaks
is left out after ten requests and not after half an hour's worth, and an idle one at all.
Then it rests for 30 s, after which one request at a time tries it. Two good answers in a row bring
it back (as many as `health_check.recovery_threshold` asks for), with nothing held against it; a
fault sends it back to rest for twice as long, at most ten minutes.

What was sent to it before it was left out says nothing new and is not heard, unless it ends while
another request tries the backend: nobody could tell the two apart, and both are evidence.
"""

from __future__ import annotations

from collections import deque

from nexus_proxy.config.model import QualityConfig
from nexus_proxy.routing.standing import Standing

RECENT = 20
"""Outcomes that count; as many as `quality.min_samples` if that is more."""
RECENT_SECONDS = 3600.0
REST_SECONDS, LONGEST_REST_SECONDS = 30.0, 600.0
WINS_TO_RETURN = 2


class Exclusion(Standing):
    """One backend with one model. Times are monotonic seconds."""

    __slots__ = ("_recent", "_rests", "_wins", "faults", "out_of")

    def __init__(self) -> None:
        super().__init__()
        self._recent: deque[tuple[float, bool]] = deque()
        self._rests = self._wins = 0
        self.faults = self.out_of = 0
        """Why it is left out: so many faults, out of so many outcomes."""

    def begin(self) -> None:
        """A request is sent to it."""
        if self.excluded_until:
            self.sent += 1

    def settle(self) -> None:
        """A request ended that says nothing about it."""
        if self.sent:
            self.sent -= 1

    def note(self, failed: bool, now: float, config: QualityConfig) -> bool:
        """A request ended well, or by its fault. True: it is left out now and was not before, or
        the other way round."""
        if not self.excluded_until:
            recent = self._recent
            recent.append((now, failed))
            if len(recent) > RECENT and len(recent) > config.min_samples:
                recent.popleft()
            return failed and self._judge(now, config)
        if not self.sent:
            return False
        self.sent -= 1
        return self._tried(failed, now)

    def lapse(self, now: float) -> bool:
        """Forget an exclusion that nobody cared to try out for an hour. True: it was one."""
        if not self.excluded_until or self.sent or now < self.excluded_until + RECENT_SECONDS:
            return False
        self._readmit()
        return True

    def _judge(self, now: float, config: QualityConfig) -> bool:
        recent = self._recent
        while recent[0][0] < now - RECENT_SECONDS:
            recent.popleft()
        faults = sum(failed for _, failed in recent)
        if len(recent) < config.min_samples or faults < config.error_rate_threshold * len(recent):
            return False
        self.faults, self.out_of = faults, len(recent)
        self._rest(now)
        return True

    def _tried(self, failed: bool, now: float) -> bool:
        if not failed:
            self._wins += 1
            if self._wins < WINS_TO_RETURN:
                return False
            self._readmit()
            return True
        self._wins = 0
        if now >= self.excluded_until:
            self._rest(now)
        return False

    def _rest(self, now: float) -> None:
        seconds = min(REST_SECONDS * 2.0 ** min(self._rests, 16), LONGEST_REST_SECONDS)
        self._rests += 1
        self.excluded_until = now + seconds

    def _readmit(self) -> None:
        self.excluded_until = 0.0
        self.sent = self._rests = self._wins = 0
        self._recent.clear()
