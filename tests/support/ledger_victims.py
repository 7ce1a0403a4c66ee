"""Processes that spend, and are killed while they do.

    python -m tests.support.ledger_victims kill FILE ROUNDS
    python -m tests.support.ledger_victims race FILE LIMIT_USD REQUESTS

Prints JSON, one line for each fact that the ledger had acknowledged: `["reserved", id, nanousd]`
or `["settled", id, nanousd]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from nexus_proxy.accounting.entries import Settlement
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.errors import BudgetExceededError
from nexus_proxy.events import Bus
from nexus_proxy.store.sqlite import Store

USAGE = TokenUsage(prompt=3, completion=5)


def say(*fact: object) -> None:
    os.write(1, (json.dumps(fact) + "\n").encode())


async def spend(ledger: Ledger, store: Store, estimate: int) -> None:
    """One request, from reservation to settlement, each said once it is durable."""
    entry = await ledger.reserve(
        request_id="r", backend="cloud", model="m", model_asked="m", nanousd=estimate
    )
    say("reserved", entry.id, estimate)
    cost = random.randrange(estimate)
    ledger.settle(
        entry, Settlement(nanousd=cost, provenance="measured", usage=USAGE, state="settled")
    )
    await store.write(lambda _connection: None)  # all that was posted before is durable now
    say("settled", entry.id, cost)


async def victim(path: Path) -> None:
    """Spends on four connections, until somebody ends it."""
    store = Store(path)
    await store.open()
    ledger = Ledger(store, Bus(), BudgetConfig())
    await ledger.start()
    while True:
        await asyncio.gather(*(spend(ledger, store, random.randint(10, 10**9)) for _ in range(4)))


def kill(path: Path, rounds: int) -> None:
    """Fork a victim, let it say something, and kill it at some moment after."""
    for _ in range(rounds):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writer, 1)
            asyncio.run(victim(path))
        os.close(writer)
        select.select([reader], [], [], 20)
        time.sleep(random.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with os.fdopen(reader, "rb") as pipe:
            said = pipe.read()
        # The last line may have been cut off by the kill.
        sys.stdout.write(said[: said.rfind(b"\n") + 1].decode())


async def race(path: Path, limit: float, requests: int) -> None:
    """Requests of a cent, four at a time, against a limit that others use too: many small
    transactions, each between two of somebody else."""
    store = Store(path)
    await store.open()
    ledger = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=limit))
    await ledger.start()

    os.write(1, b"ready\n")
    sys.stdin.readline()  # the shot
    at_once = asyncio.Semaphore(4)

    async def one() -> None:
        async with at_once:
            await reserve()

    async def reserve() -> None:
        try:
            entry = await ledger.reserve(
                request_id="r", backend="cloud", model="m", model_asked="m", nanousd=10**7
            )
        except BudgetExceededError:
            return
        say("reserved", entry.id, 10**7)

    await asyncio.gather(*(one() for _ in range(requests)))
    await store.close()


if __name__ == "__main__":
    what, file, *rest = sys.argv[1:]
    if what == "kill":
        kill(Path(file), int(rest[0]))
    else:
        asyncio.run(race(Path(file), float(rest[0]), int(rest[1])))
