"""The state file: older, newer, broken, full and shared."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.errors import BudgetExceededError, StoreUnavailableError
from nexus_proxy.events import Bus
from nexus_proxy.store.schema import MIGRATIONS
from nexus_proxy.store.sqlite import Store

CENT = 10**7


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "nexus.db"


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    store = Store(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def put(number: int) -> Callable[[sqlite3.Connection], None]:
    def job(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO leases VALUES (?, 1, 0)", (f"owner-{number}",))

    return job


def count(connection: sqlite3.Connection) -> int:
    (number,) = connection.execute("SELECT COUNT(*) FROM leases").fetchone()
    return int(number)


async def test_a_new_file_is_for_its_owner_only(path: Path) -> None:
    async with opened(path) as store:
        await store.write(put(1))
        assert await store.read(count) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_nobody_waits_for_shares_a_commit_with_what_somebody_does(path: Path) -> None:
    async with opened(path) as store:
        said: list[str] = []
        await store.write(lambda connection: connection.set_trace_callback(said.append))
        store.post(put(1))
        store.post(put(2))
        await store.write(put(3))
        await store.write(lambda connection: connection.set_trace_callback(None))
        assert said.count("COMMIT") == 1 + 1, "one each for the trace and for all three"
        done = asyncio.Event()
        store.post(put(4), done=lambda _: done.set())
        await done.wait()
        assert await store.read(count) == 4


async def test_a_job_that_raises_undoes_itself_and_nothing_else(path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        put(2)(connection)
        raise LookupError("mine")

    async with opened(path) as store:
        store.post(put(1))
        with pytest.raises(LookupError, match="mine"):
            await store.write(fails)
        await store.write(put(3))
        assert await store.read(count) == 2
        assert store.problem is None


async def test_an_older_file_is_brought_up_to_date(path: Path) -> None:
    path.parent.mkdir()
    old = Store(path, migrations=MIGRATIONS[:1])
    await old.open()
    await old.write(put(1))
    await old.close()
    async with opened(path) as store:
        assert await store.read(count) == 1
        quality = "SELECT COUNT(*) FROM quality_bucket"
        assert await store.read(lambda c: c.execute(quality).fetchone()) == (0,)


async def test_a_newer_file_is_left_alone(path: Path) -> None:
    async with opened(path) as store:
        await store.write(lambda c: c.execute("PRAGMA user_version = 99"))
    before = path.read_bytes()
    async with opened(path) as store:
        assert "newer Nexus (schema 99" in str(store.problem)
        with pytest.raises(StoreUnavailableError, match="newer Nexus"):
            await store.write(put(1))
    assert path.read_bytes() == before


async def test_a_file_that_is_no_database_is_moved_aside_and_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"not a database at all, " * 1000)
    async with opened(path) as store:
        await store.write(put(1))
        assert "moved to nexus.db.unreadable-" in str(store.problem)
        assert await store.read(count) == 1
    (aside,) = path.parent.glob("nexus.db.unreadable-*")
    assert aside.read_bytes().startswith(b"not a database")


async def test_a_full_disk_stops_nobody_and_what_is_due_is_written_later(path: Path) -> None:
    async with opened(path) as store:
        ledger = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=0.05))
        await ledger.start()
        await reserve(ledger)
        await store.write(lambda c: c.execute("PRAGMA max_page_count = 1"))
        with pytest.raises(StoreUnavailableError):
            await store.write(lambda c: c.execute("CREATE TABLE big AS SELECT zeroblob(1000000)"))
        assert "full" in str(store.problem)
        (problem,) = ledger.problems
        assert "spend is counted in memory only" in problem

        def fill(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE entries SET model_asked = hex(zeroblob(100000))")

        store.post(fill)  # cannot be written, and keeps all after it from being written
        for _ in range(4):
            await reserve(ledger)
        with pytest.raises(BudgetExceededError):
            await reserve(ledger)
        assert ledger.standing.reserved_usd == pytest.approx(0.05)

        assert store._connection is not None
        store._connection.execute("PRAGMA max_page_count = 100000")  # somebody freed some space
        await store.write(lambda _connection: None)
        assert store.problem is None
        query = "SELECT COUNT(*), SUM(nanousd) FROM entries"
        assert await store.read(lambda c: c.execute(query).fetchone()) == (5, 5 * CENT)


async def test_a_folder_that_cannot_be_made_is_a_problem_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with opened(tmp_path / "file" / "nexus.db") as store:
        ledger = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=0.01))
        await ledger.start()
        await reserve(ledger)
        with pytest.raises(BudgetExceededError):
            await reserve(ledger)
        assert "cannot be written" in ledger.problems[0]
        ledger.stop()


async def reserve(ledger: Ledger) -> None:
    await ledger.reserve(request_id="r", backend="cloud", model="m", model_asked="m", nanousd=CENT)
