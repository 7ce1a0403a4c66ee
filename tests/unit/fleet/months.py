"""Generated months of requests, whose right answers are known."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from nexus_proxy.config.model import FleetConfig
from nexus_proxy.fleet.advise import Place

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
"""A Monday."""
GB = 1_000_000_000
CONFIG = FleetConfig(enabled=True)

Rate = Callable[[datetime], float]
"""Requests that are expected in the hour from a moment on."""


def month(rate: Rate, *, days: int = 28, seed: int = 1) -> dict[int, int]:
    """Whole days up to last midnight; each hour's requests by chance (Poisson) about `rate`."""
    chance, found = random.Random(seed), dict[int, int]()
    moment = NOW.replace(hour=0) - timedelta(days=days)
    while moment < NOW.replace(hour=0):
        if requests := _poisson(chance, rate(moment)):
            found[int(moment.timestamp())] = requests
        moment += timedelta(hours=1)
    return found


def _poisson(chance: random.Random, mean: float) -> int:
    """How many arrivals of a steady stream fall into one hour."""
    count, at = 0, chance.expovariate(mean) if mean else 2.0
    while at < 1.0:
        count, at = count + 1, at + chance.expovariate(mean)
    return count


def at_nine(moment: datetime) -> float:
    """Twenty requests at nine, one an hour else."""
    return 20.0 if moment.hour == 9 else 1.0


def on_workdays(moment: datetime) -> float:
    return at_nine(moment) if moment.weekday() < 5 else 1.0


def evenly(_moment: datetime) -> float:
    return 3.0


def place(
    name: str = "box", sizes: Mapping[str, int | None] | None = None, *, most: int | None = None
) -> Place:
    """A backend with room for 16 GB."""
    told = {"a": 5 * GB} if sizes is None else sizes
    return Place(backend=name, sizes=told, limit=16 * GB, most=most)
