"""The ledger over time: months turn while nobody asks, the dead come back, figures are odd."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from nexus_proxy.accounting import ledger as module
from nexus_proxy.accounting.entries import Entry, Settlement
from nexus_proxy.accounting.lease import DEAD_SECONDS
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.usage import TokenUsage, counted_inside
from nexus_proxy.config.model import BudgetAction, BudgetConfig
from nexus_proxy.errors import BudgetExceededError, StoreUnavailableError
from nexus_proxy.events import BudgetLevelChanged, Bus, Event
from nexus_proxy.state import BudgetLevel
from nexus_proxy.store import sqlite as store_module
from nexus_proxy.store.machine import machine_id
from nexus_proxy.store.sqlite import Store
from nexus_proxy.tasks import spawn
from nexus_proxy.telemetry.history import Record
from tests.support.gateway import until

CENT = 10**7
USAGE = TokenUsage(prompt=3, completion=5)


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Clock:
    """Says what it is told to."""

    def __init__(self, text: str = "2026-11-15T12:00") -> None:
        self.now = at(text)

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def ledger(
    path: Path, clock: Callable[[], float] | None = None, **budget: Any
) -> AsyncIterator[Ledger]:
    store, bus = Store(path), Bus()
    await store.open()
    made = Ledger(store, bus, BudgetConfig(time_zone="UTC", **budget), clock=clock or Clock())
    await made.start()
    try:
        yield made
    finally:
        made.stop()
        await store.close()


async def reserve(ledger: Ledger, nanousd: int | None = CENT, **more: Any) -> Entry:
    return await ledger.reserve(
        request_id="r", backend="b", model="m", model_asked="m", nanousd=nanousd, **more
    )


def settled(nanousd: int | None, state: str = "settled") -> Settlement:
    return Settlement(nanousd=nanousd, provenance="measured", usage=USAGE, state=state)


async def written(ledger: Ledger) -> None:
    """All that was posted is in the file."""
    await ledger._store.write(lambda _connection: None)


async def rows(ledger: Ledger) -> list[tuple[str, int | None]]:
    query = "SELECT state, nanousd FROM entries ORDER BY at, id"
    return await ledger._store.read(lambda c: c.execute(query).fetchall())


async def test_a_spent_budget_opens_again_with_the_month_though_nobody_may_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    clock, heard = Clock("2026-11-30T23:59"), list[Event]()
    async with ledger(tmp_path / "n.db", clock, monthly_limit_usd=0.01) as book:
        book._bus.subscribe(heard.append, BudgetLevelChanged)
        book.settle(await reserve(book), settled(CENT))
        await until(book._bus, lambda: book.standing.level is BudgetLevel.HARD)
        clock.now = at("2026-12-01T00:01")
        await until(book._bus, lambda: book.standing.level is BudgetLevel.OK)
        assert book.standing.month == "2026-12"
        assert book.standing.spent_usd == 0
        assert [event.level for event in heard if isinstance(event, BudgetLevelChanged)][-1] == "ok"


async def test_what_another_process_spends_is_seen_though_this_one_spends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.01)
    async with (
        ledger(tmp_path / "n.db", monthly_limit_usd=0.01) as idle,
        ledger(tmp_path / "n.db", monthly_limit_usd=0.01) as busy,
    ):
        busy.settle(await reserve(busy), settled(CENT))
        await until(idle._bus, lambda: idle.standing.level is BudgetLevel.HARD)


async def test_what_another_process_gives_back_is_seen_before_its_next_beat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BEAT_SECONDS", 3600.0)
    monkeypatch.setattr(module, "GLANCE_SECONDS", 0.01)
    async with (
        ledger(tmp_path / "n.db", monthly_limit_usd=0.02) as one,
        ledger(tmp_path / "n.db", monthly_limit_usd=0.02) as other,
    ):
        entry = await reserve(other, 2 * CENT)
        with pytest.raises(BudgetExceededError):
            await reserve(one)
        one.release(await reserve(one, 0))  # now it knows of the other's, and asks for no more
        other.settle(entry, settled(2 * CENT * 8 // 10))
        await until(one._bus, lambda: one.standing.spent_usd == pytest.approx(0.016))
        assert one.standing.reserved_usd == 0


@pytest.mark.parametrize("nanousd", [3, None])
async def test_who_was_taken_for_dead_and_was_not_books_what_it_measured(
    tmp_path: Path, nanousd: int | None
) -> None:
    clock = Clock()
    async with ledger(tmp_path / "n.db", clock) as slow:
        entries = [await reserve(slow, estimate) for estimate in (CENT, CENT, None)]
        clock.now += DEAD_SECONDS + 1  # the machine slept, and the other awoke first
        async with ledger(tmp_path / "n.db", clock) as quick:
            assert quick.standing.spent_usd == pytest.approx(0.02)
            assert quick.standing.unknown_requests == 1
            assert quick.standing.reserved_usd == 0
        slow.settle(entries[0], settled(nanousd))
        slow.release(entries[1])
        slow.settle(entries[2], settled(5))
        await written(slow)
        known = [n for state, n in await rows(slow) if state == "settled"]
        assert sorted(known, key=str) == sorted([nanousd, 5], key=str)
        assert slow.standing.spent_usd == pytest.approx(((nanousd or 0) + 5) / 1e9)
        assert slow.standing.unknown_requests == (nanousd is None)


async def test_a_cut_answer_is_booked_once(tmp_path: Path) -> None:
    async with ledger(tmp_path / "n.db") as book:
        entry = await reserve(book)
        book.settle(entry, settled(3, "interrupted"))
        book.settle(entry, settled(9))
        book.release(entry)
        await written(book)
        assert await rows(book) == [("interrupted", 3)]
        assert book.standing.spent_usd == 3e-9
        assert book.standing.reserved_usd == 0


async def test_what_was_reserved_in_a_file_that_is_gone_is_booked_in_the_new_one(
    tmp_path: Path,
) -> None:
    async with ledger(tmp_path / "n.db") as book:
        entry = await reserve(book)
        for part in tmp_path.glob("n.db*"):
            part.unlink()
        book.settle(entry, settled(3))
        await written(book)
        assert await rows(book) == [("settled", 3)]
        assert book.standing.spent_usd == 3e-9


async def test_a_client_that_leaves_while_money_is_put_aside_leaves_nothing(
    tmp_path: Path,
) -> None:
    async with ledger(tmp_path / "n.db", monthly_limit_usd=0.01) as book:
        task = spawn(reserve(book), name="client")
        await asyncio.sleep(0)  # the job is given to the thread
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await written(book)
        assert await rows(book) == []
        assert book.standing.reserved_usd == 0
        await reserve(book)
        with pytest.raises(BudgetExceededError):
            await reserve(book)


async def test_a_process_id_says_nothing_of_another_machine(tmp_path: Path) -> None:
    """Two containers share a file, and the other one's process has no number here."""
    clock, gone = Clock(), 2**22 + 1
    with pytest.raises(ProcessLookupError):
        os.kill(gone, 0)
    async with ledger(tmp_path / "n.db", clock) as book:
        here, there = f"{gone}-{machine_id()}-a", f"{gone}-elsewhere-a"

        def pretend(connection: sqlite3.Connection) -> None:
            for owner in (here, there):
                connection.execute("INSERT INTO leases VALUES (?, ?, ?)", (owner, gone, clock.now))

        await book._store.write(pretend)
        for beats, left in ((1.0, {there, book._lease.owner}), (DEAD_SECONDS, {book._lease.owner})):
            clock.now += beats
            await book._look()
            found = await book._store.read(
                lambda c: {owner for (owner,) in c.execute("SELECT owner FROM leases")}
            )
            assert found == left


@pytest.mark.parametrize("absurd", [10**30, -(10**30), -1])
async def test_absurd_figures_break_no_sum(tmp_path: Path, absurd: int) -> None:
    async with ledger(tmp_path / "n.db") as book:
        book.settle(await reserve(book, absurd), settled(absurd))
        await written(book)
        ((state, nanousd),) = await rows(book)
        assert state == "settled"
        assert nanousd in (0, module.MOST_NANOUSD)
        assert book.standing.spent_usd == nanousd / 1e9
        assert book.standing.reserved_usd == 0


async def test_a_month_begins_anew_where_the_changed_time_zone_says(tmp_path: Path) -> None:
    clock = Clock("2026-11-30T12:00")
    async with ledger(tmp_path / "n.db", clock) as book:
        assert book.standing.month == "2026-11"
        book.apply(BudgetConfig(time_zone="Pacific/Kiritimati"))
        assert book.standing.month == "2026-12"
        book.apply(BudgetConfig(time_zone="UTC"))
        assert book.standing.month == "2026-12"  # a month that has begun is not left again


async def test_a_clock_that_was_wrong_is_a_problem_until_it_is_right(tmp_path: Path) -> None:
    clock = Clock("2027-05-01T12:00")
    async with ledger(tmp_path / "n.db", clock) as book:
        await reserve(book)
    clock.now = at("2026-11-15T12:00")
    async with ledger(tmp_path / "n.db", clock) as book:
        assert book.standing.month == "2026-11"
        (problem,) = book.problems
        assert "spend in 2027-05" in problem
        clock.now = at("2027-05-02T12:00")
        await book._look()
        assert book.problems == []
        assert book.standing.spent_usd == pytest.approx(0.01)


async def test_what_is_over_counts_at_once_and_not_when_it_is_written(tmp_path: Path) -> None:
    """Who asks again as soon as he has his answer meets no reservation of his own."""
    async with ledger(tmp_path / "n.db", monthly_limit_usd=0.02) as book:
        for spent in range(1, 11):
            entry = await reserve(book)
            book.settle(entry, settled(CENT // 10))
            assert book.standing.reserved_usd == 0
            assert book.standing.spent_usd == pytest.approx(spent / 1000)
        book.release(await reserve(book, key="ci"))
        assert book.standing.reserved_usd == 0
        assert book.spent_by_key() == {"ci": 0.0}
        book.settle(await reserve(book, CENT, key="ci"), settled(None))
        assert book.standing.unknown_requests == 1
        before = book.standing
        await written(book)
        assert book.standing == before
        assert book._balance._due == {}


async def test_what_began_last_month_changes_nothing_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the disk takes it or not."""
    monkeypatch.setattr(store_module, "RETRY_SECONDS", 0.01)
    clock = Clock("2026-11-30T23:59")
    async with ledger(tmp_path / "n.db", clock, monthly_limit_usd=1.0) as book:
        old = [await reserve(book) for _ in range(2)]
        clock.now = at("2026-12-01T00:01")
        new = await reserve(book)
        book.settle(old[0], settled(3))
        assert (book.standing.spent_usd, book.standing.reserved_usd) == (0, 0.01)
        await book._store.write(lambda c: c.execute("PRAGMA query_only = 1"))
        with pytest.raises(StoreUnavailableError):
            await book._store.write(lambda c: c.execute("CREATE TABLE refused (x)"))
        book.settle(old[1], settled(5))
        assert (book.standing.spent_usd, book.standing.reserved_usd) == (0, 0.01)
        book.settle(new, settled(7))
        assert (book.standing.spent_usd, book.standing.reserved_usd) == (7e-9, 0)
        await written(book)  # it had a new connection by now, which may write
        assert (book.standing.spent_usd, book.standing.reserved_usd) == (7e-9, 0)
        assert (await book.report("2026-11", "day")).spent_usd == pytest.approx(8e-9)


async def test_each_level_is_told_once_whatever_is_put_aside_meanwhile(tmp_path: Path) -> None:
    """Around the limit, every reservation passes it and every settlement falls below it again."""
    heard = list[str]()
    async with ledger(
        tmp_path / "n.db", monthly_limit_usd=1.0, hard_limit_action=BudgetAction.WARN
    ) as book:
        book._bus.subscribe(lambda event: heard.append(getattr(event, "what", "")))
        for _ in range(120):
            entry = await reserve(book, 5 * CENT)
            book.settle(entry, settled(CENT))
        assert book.standing.level is BudgetLevel.HARD
        book.apply(BudgetConfig(time_zone="UTC", monthly_limit_usd=10.0))
        book.apply(BudgetConfig(time_zone="UTC", monthly_limit_usd=1.3))
        book.apply(BudgetConfig(time_zone="UTC"))
    assert heard == [
        "spend nears the budget, what is local is preferred: $0.7500 of $1.00 for 2026-11",
        "the budget is spent, nothing is blocked: $1.00 of $1.00 for 2026-11",
        "spend is within the budget: $1.20 of $10.00 for 2026-11",
        "spend nears the budget, what is local is preferred: $1.20 of $1.30 for 2026-11",
        "no budget is set any more: $1.20 for 2026-11",
    ]


async def test_counts_that_make_no_sense_take_no_others_with_them(tmp_path: Path) -> None:
    """All tokens of free requests are added in one go."""
    clock = Clock()
    async with ledger(tmp_path / "n.db", clock) as book:
        for prompt, completion in ((3, 5), (10**400, 2**63), (-7, -7), (4, None)):
            record = Record("r", "chat", "c", clock.now, 0.0, model="m", backend="b")
            record.prompt_tokens, record.completion_tokens = prompt, completion
            book.read([record])
        (row,) = (await book.report(None, "backend")).rows
        assert (row.requests, row.prompt_tokens, row.completion_tokens) == (4, 7, 5)


async def test_a_usage_that_makes_no_sense_is_booked_all_the_same(tmp_path: Path) -> None:
    async with ledger(tmp_path / "n.db") as book:
        entry = await reserve(book)
        usage = counted_inside(10**30, 10**400, cached=2**70)
        how = Settlement(nanousd=3, provenance="measured", usage=usage, state="settled")
        book.settle(entry, how)
        await written(book)
        assert await rows(book) == [("settled", 3)]
