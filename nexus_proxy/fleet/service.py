"""Counts requests by hour, keeps them, and gives advice from them when asked.

One row for each hour, backend and model: names and counts, nothing of what was asked or answered.
They are counted also while `fleet.enabled` is off, so that there is something to go by when it is
switched on.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from zoneinfo import ZoneInfo

from nexus_proxy.backends.address import is_loopback
from nexus_proxy.config.model import Config
from nexus_proxy.fleet.advise import Counts, FleetReport, Place, advise
from nexus_proxy.fleet.profile import HOUR
from nexus_proxy.lifecycle import memory
from nexus_proxy.lifecycle.times import LoadTimes
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.state import BackendState, RequestPhase
from nexus_proxy.store.sqlite import Store
from nexus_proxy.telemetry.history import Record

KEPT_DAYS = 60
LOOKED_AT_DAYS = 30
DAY = 24 * HOUR
SAVE_SECONDS = 60.0
SAVE = """\
INSERT INTO request_hours (start, backend, model, requests) VALUES (?, ?, ?, ?)
ON CONFLICT (start, backend, model) DO UPDATE SET requests = requests + excluded.requests"""
EXPIRE = "DELETE FROM request_hours WHERE start < ?"
LOAD = "SELECT start, backend, model, requests FROM request_hours WHERE start >= ?"

Row = tuple[int, str, str, int]


class Fleet:
    """Owner of the counts that are not saved yet, and of the last advice."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        times: LoadTimes,
        get_config: Callable[[], Config],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._registry, self._times = store, registry, times
        self._get_config, self._clock = get_config, clock
        self._counted: dict[tuple[int, str, str], int] = {}
        self._save_at = 0.0
        self._report: tuple[FleetReport, Config] | None = None

    def read(self, ended: Sequence[Record]) -> None:
        """A reader of the history: count what backends served."""
        counted = self._counted
        for record in ended:
            backend, model = record.backend, record.model
            if backend is None or model is None or record.phase is not RequestPhase.DONE:
                continue
            key = int(record.started) // HOUR * HOUR, backend, model
            counted[key] = counted.get(key, 0) + 1
        if counted and self._clock() >= self._save_at:
            self.save()

    def save(self) -> None:
        """Have what was counted added to the file."""
        now = self._clock()
        self._save_at = now + SAVE_SECONDS
        rows = [(*key, requests) for key, requests in self._counted.items()]
        self._counted = {}
        oldest = int(now) - KEPT_DAYS * DAY

        def add(connection: sqlite3.Connection) -> None:
            connection.executemany(SAVE, rows)
            connection.execute(EXPIRE, (oldest,))

        if rows:
            self._store.post(add)

    async def report(self) -> FleetReport:
        """The advice now; made anew every `fleet.analysis_interval_seconds`. Raises
        `StoreUnavailableError`."""
        config, now = self._get_config(), self._clock()
        if not config.fleet.enabled:
            return _nothing(now, "it is switched off (fleet.enabled); requests are counted for it")
        if self._report is not None:
            last, of = self._report
            age = now - last.generated_at
            if of is config and 0 <= age < config.fleet.analysis_interval_seconds:
                return last
        rows = await self._rows(now)
        places = await self._places(config)
        zone = config.routing.budget.time_zone
        report = await asyncio.to_thread(
            advise,
            counts_of(rows),
            places,
            config.fleet,
            now=now,
            zone=None if zone is None else ZoneInfo(zone),
        )
        self._report = report, config
        return report

    async def _rows(self, now: float) -> list[Row]:
        self.save()
        oldest = int(now) - LOOKED_AT_DAYS * DAY
        # As a write, so that what was just counted is in it.
        return await self._store.write(lambda c: c.execute(LOAD, (oldest,)).fetchall())

    async def _places(self, config: Config) -> list[Place]:
        backends = [b for b in self._registry if b.loads_when_told and b.state is BackendState.UP]
        here = any(is_loopback(b.url) for b in backends)
        gpu = await memory.gpu_of_this_machine() if here else None
        return [
            self._place(
                backend, memory.limit(config.lifecycle, gpu if is_loopback(backend.url) else None)
            )
            for backend in backends
        ]

    def _place(self, backend: Backend, limit: int) -> Place:
        models = [model for model in backend.models.values() if not model.remote]
        seconds = {m.id: self._times.get(backend.name, m.id) for m in models}
        return Place(
            backend=backend.name,
            sizes={model.id: model.vram_bytes or model.size_bytes for model in models},
            limit=limit,
            most=backend.max_loaded,
            seconds={name: known for name, known in seconds.items() if known is not None},
        )


def counts_of(rows: Iterable[Row]) -> Counts:
    """Rows as counts by backend and model."""
    counts: dict[tuple[str, str], dict[int, int]] = {}
    for start, backend, model, requests in rows:
        hours = counts.setdefault((backend, model), {})
        hours[start] = hours.get(start, 0) + requests
    return counts


def _nothing(now: float, note: str) -> FleetReport:
    return FleetReport(
        fleet_enabled=False,
        generated_at=now,
        days=0,
        requests=0,
        note=note,
        recommendations=(),
        left_out=(),
    )
