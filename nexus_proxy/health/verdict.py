"""From a row of checks to a word on a backend's health. Pure."""

from __future__ import annotations

from enum import Enum

from nexus_proxy.config.model import HealthCheckConfig
from nexus_proxy.state import BackendState


class Outcome(Enum):
    """How one check ended."""

    ANSWERED = "answered"
    LOADING = "loading"
    """It answered that its model is not ready."""
    FAILED = "failed"
    GONE = "gone"
    """Nobody listens there: one such answer is proof enough."""
    BUSY = "busy"
    """It took the connection and kept silent while it works for us and may not be able to do
    both: no proof of anything."""


def streak_after(streak: int, outcome: Outcome) -> int:
    """Checks in a row with the same outcome: positive successes, negative failures."""
    if outcome is Outcome.BUSY:
        return streak
    if outcome in (Outcome.FAILED, Outcome.GONE):
        return min(streak, 0) - 1
    return max(streak, 0) + 1


def verdict(
    health: BackendState, streak: int, outcome: Outcome, limits: HealthCheckConfig
) -> BackendState:
    """The health after a check, where `streak` counts that check already.

    The first check decides at once; so does a refused connection. Otherwise it takes
    `failure_threshold` failures in a row to go down, `recovery_threshold` successes to come back.
    """
    match outcome:
        case Outcome.BUSY:
            return health
        case Outcome.GONE:
            return BackendState.DOWN
        case Outcome.FAILED:
            first = health is BackendState.UNKNOWN
            return BackendState.DOWN if first or -streak >= limits.failure_threshold else health
        case _:
            if health is BackendState.DOWN and streak < limits.recovery_threshold:
                return health
            return BackendState.LOADING if outcome is Outcome.LOADING else BackendState.UP
