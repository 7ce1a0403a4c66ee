"""Thresholds, as they are configured, and the two cases that need none."""

from __future__ import annotations

import pytest

from nexus_proxy.config.model import HealthCheckConfig
from nexus_proxy.health.verdict import Outcome, streak_after, verdict
from nexus_proxy.state import BackendState

LIMITS = HealthCheckConfig(failure_threshold=3, recovery_threshold=2)
A, F, G, B, L = Outcome.ANSWERED, Outcome.FAILED, Outcome.GONE, Outcome.BUSY, Outcome.LOADING


@pytest.mark.parametrize(
    ("outcomes", "states"),
    [
        ([A], "up"),
        ([F], "down"),
        ([L, A], "loading up"),
        ([A, F, F, F], "up up up down"),
        ([A, F, F, A, F, F], "up up up up up up"),
        ([A, G], "up down"),
        ([F, A, A], "down down up"),
        ([F, A, F, A, A], "down down down down up"),
        ([F, L, L, A], "down down loading up"),
        ([A, B, B, B, B], "up up up up up"),
        ([A, F, B, F, B, F], "up up up up up down"),
        ([L, F, F, F], "loading loading loading down"),
    ],
)
def test_a_row_of_checks(outcomes: list[Outcome], states: str) -> None:
    health, streak, seen = BackendState.UNKNOWN, 0, []
    for outcome in outcomes:
        streak = streak_after(streak, outcome)
        health = verdict(health, streak, outcome, LIMITS)
        seen.append(health.value)
    assert seen == states.split()
