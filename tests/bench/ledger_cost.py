"""CPU of putting money aside and booking it, main thread and writer together.

python -m tests.bench.ledger_cost
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from nexus_proxy.accounting.entries import Settlement
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.events import Bus
from nexus_proxy.store.sqlite import Store

AT_ONCE = (1, 64)
REQUESTS = 1280
SETTLED = Settlement(
    nanousd=1000, provenance="measured", usage=TokenUsage(prompt=1, completion=1), state="settled"
)


async def priced_request_microseconds(at_once: int) -> float:
    """Median microseconds of CPU for one request, with so many at a time."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "nexus.db")
        await store.open()
        ledger = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=1000.0))
        await ledger.start()

        async def one() -> None:
            entry = await ledger.reserve(
                request_id="r", backend="cloud", model="m", model_asked="m", nanousd=5000
            )
            ledger.settle(entry, SETTLED)

        runs = []
        for _ in range(REQUESTS // at_once):
            began = time.process_time()
            await asyncio.gather(*(one() for _ in range(at_once)))
            runs.append((time.process_time() - began) / at_once * 1e6)
        ledger.stop()
        await store.close()
        return statistics.median(runs)


if __name__ == "__main__":
    for number in AT_ONCE:
        cost = uvloop.run(priced_request_microseconds(number))
        print(f"{number} at once: {cost:.0f} µs of CPU")  # noqa: T201
