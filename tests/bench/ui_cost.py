"""What a redraw of the terminal UI costs the process that also serves requests.

`python -m tests.bench.ui_cost [seconds]` drives the app headless over a gateway of 200 backends,
100,000 models and 10,000 requests, changes it ten times a second, and reports for each tab the
processor time of one second and how late the loop was; first of all, what measuring takes with no
screen at all. Figures, no assertions.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import sys
import time

import click
import msgspec

from nexus_proxy.cli.run import settle_memory
from nexus_proxy.state import BackendView, RequestPhase, RequestView, Snapshot
from nexus_tui.app import NexusApp
from nexus_tui.screens.dashboard import PANES, Dashboard
from nexus_tui.widgets.filter_bar import FilterBar
from tests.support.sample_policies import NOW
from tests.support.sample_snapshot import QWEN, backend, request, snapshot
from tests.tui.scripted import ScriptedSource

BACKENDS, MODELS, REQUESTS = 200, 500, 10_000
SIZE = (200, 60)
CHANGES_PER_SECOND = 10
LAG_SAMPLE = 0.005


def large_backends() -> tuple[BackendView, ...]:
    return tuple(
        backend(
            f"backend-{number:03}",
            models=tuple(
                msgspec.structs.replace(QWEN, id=f"family-{one % 40}/model-{one:03}")
                for one in range(MODELS)
            ),
            in_flight=number % 5,
        )
        for number in range(BACKENDS)
    )


class BusySource(ScriptedSource):
    """A gateway on which a few things change with every event, as under load."""

    def __init__(self) -> None:
        self._backends = large_backends()
        self._requests = tuple(
            request(f"req_{number}", started=NOW - number, decision=None)
            for number in range(REQUESTS)
        )
        self._steps = itertools.count()
        super().__init__(self._taken())

    def _taken(self) -> Snapshot:
        return snapshot(backends=self._backends, requests=self._requests, problems=())

    def step(self) -> None:
        """One backend gets busier, one request arrives, another goes on."""
        number = next(self._steps)
        where = number % 40
        busier = msgspec.structs.replace(self._backends[where], in_flight=number % 9)
        # the registry makes a new tuple of models for each view, and so does this
        busier = msgspec.structs.replace(busier, models=(*busier.models[:-1], busier.models[-1]))
        self._backends = (*self._backends[:where], busier, *self._backends[where + 1 :])
        arrived: RequestView = request(
            f"new_{number}", phase=RequestPhase.STREAMING, total_ms=None, decision=None
        )
        self._requests = (arrived, *self._requests[:-1])
        self.change(self._taken())


async def lateness(samples: list[float]) -> None:
    """How much later than asked the loop comes back, in milliseconds, again and again."""
    while True:
        started = time.perf_counter()
        await asyncio.sleep(LAG_SAMPLE)
        samples.append((time.perf_counter() - started - LAG_SAMPLE) * 1000)


async def measure(source: BusySource, label: str, seconds: float) -> None:
    samples: list[float] = []
    async with asyncio.TaskGroup() as group:
        watcher = group.create_task(lateness(samples))
        before, snapshots = time.process_time(), source.snapshots
        for _ in range(int(seconds * CHANGES_PER_SECOND)):
            source.step()
            await asyncio.sleep(1 / CHANGES_PER_SECOND)
        used = (time.process_time() - before) * 1000
        watcher.cancel()
    redraws = max(1, source.snapshots - snapshots)
    cuts = statistics.quantiles(samples, n=100)
    click.echo(
        f"{label:<28} {used / seconds:7.1f} ms CPU/s  {used / redraws:6.1f} ms/redraw  "
        f"lag p50 {cuts[49]:5.1f}  p99 {cuts[98]:6.1f}  max {max(samples):6.1f} ms"
    )


async def main(seconds: float) -> None:
    source = BusySource()
    await measure(source, "the measuring itself", seconds)
    app = NexusApp(source)
    async with app.run_test(size=SIZE) as pilot:
        dashboard = app.screen_stack[0]
        assert isinstance(dashboard, Dashboard)
        settle_memory()
        for name in PANES:
            dashboard.action_pane(name)
            await pilot.pause(1.0)
            await measure(source, name, seconds)
            if name in {"models", "requests"}:
                dashboard.pane.query_one(FilterBar).open()
                await pilot.press("0")
                await pilot.pause(1.0)
                await measure(source, f"{name}, filtered by 7", seconds)
                await pilot.press("escape")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0))
