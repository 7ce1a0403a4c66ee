"""How long loading a model took, by backend and model, so that those who wait can be told."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from nexus_proxy.registry import EMA_WEIGHT

LOAD = "SELECT backend, model, seconds FROM load_times"
SAVE = "INSERT OR REPLACE INTO load_times VALUES (?, ?, ?)"


class LoadTimes:
    """Moving averages, in seconds."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, str], float] = {}

    def get(self, backend: str, model: str) -> float | None:
        """How long it takes; None: it was never loaded by us."""
        return self._seconds.get((backend, model))

    def learn(self, backend: str, model: str, seconds: float) -> float:
        """It took so long this time. Returns the average."""
        before = self._seconds.get((backend, model), seconds)
        mean = before + EMA_WEIGHT * (seconds - before)
        self._seconds[backend, model] = mean
        return mean

    def take_over(self, rows: Iterable[Sequence[object]]) -> None:
        """What an earlier run learnt; rows that make no sense are passed over."""
        for row in rows:
            match tuple(row):
                case (str(backend), str(model), float(seconds)) if seconds >= 0:
                    self._seconds.setdefault((backend, model), seconds)
                case _:
                    continue


def save(connection: sqlite3.Connection, backend: str, model: str, seconds: float) -> None:
    """A job of the store."""
    connection.execute(SAVE, (backend, model, seconds))
