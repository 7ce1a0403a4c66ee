"""What it costs to put money aside and to book it: CPU of all threads, and time to be durable.

    python -m tests.bench.ledger_cost [--concurrent N] [--requests N]

CPU is what the issue bounds (300 microseconds for a priced request); how long a request waits for
its reservation is the disk's to say, and shared by all that wait for one commit.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from nexus_proxy.accounting.entries import Settlement
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.events import Bus
from nexus_proxy.store.sqlite import Store

SETTLED = Settlement(
    nanousd=900, provenance="measured", usage=TokenUsage(prompt=9, completion=9), state="settled"
)


async def cost_microseconds(folder: Path, *, concurrent: int, requests: int) -> tuple[float, float]:
    """CPU per reserve and settle, and the median time of a reserve, both in microseconds."""
    store = Store(folder / "nexus.db")
    await store.open()
    ledger = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=1e6))
    await ledger.start()
    waits: list[float] = []

    async def client(count: int) -> None:
        for _ in range(count):
            began = time.perf_counter()
            entry = await ledger.reserve(
                request_id="r", backend="b", model="m", model_asked="m", nanousd=1000, key="k"
            )
            waits.append(time.perf_counter() - began)
            ledger.settle(entry, SETTLED)

    began = time.process_time()
    await asyncio.gather(*(client(requests // concurrent) for _ in range(concurrent)))
    await store.write(lambda _connection: None)
    used = time.process_time() - began
    ledger.stop()
    await store.close()
    return used / len(waits) * 1e6, statistics.median(waits) * 1e6


def main() -> None:
    """Measure five times and print the medians."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.ledger_cost")
    parser.add_argument("--concurrent", type=int, default=64)
    parser.add_argument("--requests", type=int, default=6400)
    options = parser.parse_args()
    runs = []
    for _ in range(5):
        with TemporaryDirectory() as folder:
            measured = cost_microseconds(
                Path(folder), concurrent=options.concurrent, requests=options.requests
            )
            runs.append(uvloop.run(measured))
    cpu, wait = (statistics.median(run[n] for run in runs) for n in (0, 1))
    print(f"{cpu:.0f} us CPU per reserve and settle; a reserve is durable after {wait:.0f} us")  # noqa: T201


if __name__ == "__main__":
    main()
