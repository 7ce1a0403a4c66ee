"""Two processes' ledgers on one file, whatever is done in whatever order: sums stay exact."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.accounting.entries import ALL, Entry, Settlement
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.report import BY, spend
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.errors import BudgetExceededError
from nexus_proxy.events import Bus
from nexus_proxy.store.schema import NANO
from nexus_proxy.store.sqlite import Store

LIMIT = 100
"""Nano-USD, so that a few requests come to it."""
USAGE = TokenUsage(prompt=1, completion=1)
MONTHS = ("2026-11", "2026-12")
SECONDS = {"2026-11": 1_795_000_000.0, "2026-12": 1_797_000_000.0}
AMOUNTS = st.none() | st.integers(0, 60)


class Reserve(NamedTuple):
    who: int
    key: str
    nanousd: int | None


class End(NamedTuple):
    """Of the `which`th open request: settled or cut for an amount, or released."""

    which: int
    how: str
    nanousd: int | None
    provenance: str


class Turn(NamedTuple):
    """The clock is set to another month, back or forth."""

    month: str


STEPS = st.lists(
    st.builds(Reserve, st.integers(0, 1), st.sampled_from(["", "ci", "me"]), AMOUNTS)
    | st.builds(
        End,
        st.integers(0, 9),
        st.sampled_from(["settled", "interrupted", "released"]),
        AMOUNTS,
        st.sampled_from(["measured", "estimated"]),
    )
    | st.builds(Turn, st.sampled_from(MONTHS)),
    max_size=40,
)


class World:
    """Two ledgers, and what is known to be open."""

    def __init__(self, path: Path) -> None:
        self.now = SECONDS[MONTHS[0]]
        self.stores = [Store(path), Store(path)]
        budget = BudgetConfig(monthly_limit_usd=LIMIT / NANO, time_zone="UTC")
        self.ledgers = [Ledger(s, Bus(), budget, clock=lambda: self.now) for s in self.stores]
        self.open: list[tuple[Ledger, Entry]] = []
        self.settled: dict[str, tuple[str, int | None]] = {}

    async def reserve(self, step: Reserve) -> None:
        ledger = self.ledgers[step.who]
        try:
            entry = await ledger.reserve(
                request_id="r",
                backend="b",
                model="m",
                model_asked="m",
                nanousd=step.nanousd,
                key=step.key,
                key_limit_usd=50 / NANO if step.key == "ci" else None,
            )
        except BudgetExceededError:
            return
        self.open.append((ledger, entry))

    def end(self, step: End) -> None:
        if not self.open:
            return
        ledger, entry = self.open.pop(step.which % len(self.open))
        if step.how == "released":
            ledger.release(entry)
            return
        self.settled[entry.id] = (step.how, step.nanousd)
        ledger.settle(
            entry,
            Settlement(
                nanousd=step.nanousd,
                provenance="unknown" if step.nanousd is None else step.provenance,
                usage=USAGE,
                state=step.how,
            ),
        )


async def play(world: World, steps: list[Reserve | End | Turn]) -> None:
    """All steps; reservations that follow each other are made at once."""
    at_once: list[Reserve] = []
    for step in [*steps, Turn(MONTHS[0])]:
        if isinstance(step, Reserve):
            at_once.append(step)
            continue
        await asyncio.gather(*map(world.reserve, at_once))
        at_once.clear()
        if isinstance(step, End):
            world.end(step)
        else:
            world.now = SECONDS[step.month]
    for store in world.stores:
        await store.write(lambda _connection: None)
    for ledger in world.ledgers:
        await ledger._look()


def added_up(connection: sqlite3.Connection) -> dict[tuple[str, str], tuple[int, int, int]]:
    """The sums by month and key, from the entries themselves."""
    found: dict[tuple[str, str], list[int]] = {}
    for day, key, state, nanousd in connection.execute(
        "SELECT day, key, state, nanousd FROM entries"
    ):
        for one in {ALL, key}:
            sums = found.setdefault((day[:7], one), [0, 0, 0])
            sums[state == "reserved"] += nanousd or 0
            sums[2] += state != "reserved" and nanousd is None
    return {where: (spent, held, unknown) for where, (spent, held, unknown) in found.items()}


@given(STEPS)
@settings(max_examples=60)
def test_sums_are_exact_and_nobody_passes_the_limit(steps: list[Reserve | End | Turn]) -> None:
    async def run(path: Path) -> None:
        world = World(path)
        for store, ledger in zip(world.stores, world.ledgers, strict=True):
            await store.open()
            await ledger.start()
        try:
            await play(world, steps)
            await check(world)
        finally:
            for store, ledger in zip(world.stores, world.ledgers, strict=True):
                ledger.stop()
                await store.close()

    with TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder) / "n.db"))


async def check(world: World) -> None:
    """File, sums, standings and reports say the same, and the same as what was done."""
    store = world.stores[0]
    entries = await store.read(
        lambda c: {
            id_: (state, nanousd)
            for id_, state, nanousd in c.execute("SELECT id, state, nanousd FROM entries")
        }
    )
    held = {entry.id: ("reserved", entry.nanousd) for _, entry in world.open}
    assert entries == world.settled | held

    sums = await store.read(added_up)
    totals = await store.read(
        lambda c: {
            (month, key): tuple(rest)
            for month, key, *rest in c.execute(
                "SELECT month, key, spent, reserved, unknown FROM totals"
            )
            if any(rest)
        }
    )
    assert totals == {where: found for where, found in sums.items() if any(found)}

    for ledger in world.ledgers:
        standing = ledger.standing
        spent, reserved, unknown = sums.get((standing.month, ALL), (0, 0, 0))
        assert round(standing.spent_usd * NANO) == spent
        assert round(standing.reserved_usd * NANO) == reserved
        assert standing.unknown_requests == unknown
    for month in MONTHS:
        for by in BY:
            told = await store.read(partial(spend, month=month, by=by, today=f"{month}-20"))
            rows = told.rows
            booked = sum(row.usd_measured + row.usd_estimated for row in rows)
            assert round(booked * NANO) == round(told.spent_usd * NANO)
            held_back = sum(row.usd_reserved for row in rows)
            assert round(held_back * NANO) == round(told.reserved_usd * NANO)
        # Beyond the limit only by what cost more than was put aside for it.
        _, reserved, _ = sums.get((month, ALL), (0, 0, 0))
        assert reserved <= LIMIT
