"""Processes that spend, and are killed while they do.

    python -m tests.support.ledger_victims kill FILE ROUNDS
    python -m tests.support.ledger_victims race FILE LIMIT_USD REQUESTS
    python -m tests.support.ledger_victims full FILE
    python -m tests.support.ledger_victims readonly FILE

Prints JSON, one line for each fact that the ledger had acknowledged: `["reserved", id, nanousd]`
or `["settled", id, nanousd]`; the last two also `["problem", sentence]`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import select
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from nexus_proxy.accounting.entries import Settlement
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.errors import BudgetExceededError
from nexus_proxy.events import Bus
from nexus_proxy.store import sqlite
from nexus_proxy.store.sqlite import Store

CENT = 10**7
NOBODY = 65534
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


async def to_the_limit(ledger: Ledger) -> None:
    """Reserves a cent again and again until no more is allowed."""
    while True:
        try:
            entry = await ledger.reserve(
                request_id="r", backend="cloud", model="m", model_asked="m", nanousd=CENT
            )
        except BudgetExceededError:
            return
        say("reserved", entry.id, CENT)


@asynccontextmanager
async def five_cents(path: Path) -> AsyncIterator[tuple[Store, Ledger]]:
    """A ledger that has five cents for the month."""
    store = Store(path)
    await store.open()
    ledger = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=0.05))
    await ledger.start()
    yield store, ledger
    ledger.stop()
    await store.close()


async def spend_two_cents(path: Path) -> None:
    async with five_cents(path) as (_store, ledger):
        for _ in range(2):
            await spend(ledger, _store, CENT)


async def serve_on(path: Path, mend: Callable[[], None]) -> None:
    """Goes to the limit on a disk that takes nothing, which is mended then."""
    sqlite.RETRY_SECONDS = 0.05
    async with five_cents(path) as (store, ledger):
        say("standing", str(round(ledger.standing.spent_usd * 1e9)), 0)
        await to_the_limit(ledger)
        say("problem", store.problem, int(store.degraded))
        mend()
        written = asyncio.Event()
        store.post(lambda _connection: None, done=lambda _: written.set())
        await written.wait()
        say("problem", store.problem, int(store.degraded))
        say("standing", str(round(ledger.standing.spent_usd * 1e9)), 0)
        await to_the_limit(ledger)


def full(path: Path) -> None:
    """No file of this process may grow any more: that is how a full disk looks."""
    asyncio.run(spend_two_cents(path))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    asyncio.run(serve_on(path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))))


def readonly(path: Path) -> None:
    """Neither the file nor its folder may be written. Rights say nothing to root, who leaves."""
    asyncio.run(spend_two_cents(path))
    if os.geteuid() == 0:
        for place in (path.parent, path):
            os.chown(place, NOBODY, NOBODY)
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    def forbid(file: int, folder: int) -> None:
        path.chmod(file)
        path.parent.chmod(folder)

    forbid(0o400, 0o500)
    asyncio.run(serve_on(path, lambda: forbid(0o600, 0o700)))


if __name__ == "__main__":
    what, file, *rest = sys.argv[1:]
    if what in ("full", "readonly"):
        {"full": full, "readonly": readonly}[what](Path(file))
    elif what == "kill":
        kill(Path(file), int(rest[0]))
    else:
        asyncio.run(race(Path(file), float(rest[0]), int(rest[1])))
