"""What befalls a state file while it is in use: locked, removed, broken, and never a wrong job."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.events import Bus
from nexus_proxy.store import sqlite as module
from nexus_proxy.store.schema import MIGRATIONS
from nexus_proxy.store.sqlite import Store
from nexus_proxy.tasks import spawn
from tests.contract.accounting.test_store import count, opened, path, put, reserve

__all__ = ["path"]

PAGE = 4096


def nothing(_connection: sqlite3.Connection) -> None:
    """A job that says whether the file can be written."""


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Another program in the middle of a transaction."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


def write_garbage(path: Path) -> None:
    """All pages but the first few, as a dying disk leaves them."""
    data = bytearray(path.read_bytes())
    first = 8 * PAGE
    assert len(data) > first + PAGE
    data[first:] = os.urandom(len(data) - first)
    path.write_bytes(data)


async def test_a_wrong_job_is_its_own_fault_and_not_the_disks(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("SELECT one FROM nowhere")

    async with opened(path) as store:
        store.post(wrong)
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            await store.write(wrong)
        await store.write(put(1))
        assert store.problem is None
        assert await store.read(count) == 1
    assert "a change could not be saved: no such table: nowhere" in caplog.text


async def test_a_problem_is_told_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(path) as store:
        await store.write(lambda c: c.execute("PRAGMA user_version = 99"))
    async with opened(path) as store:
        first = store.problem
        for _ in range(3):
            with pytest.raises(StoreUnavailableError):
                await store.write(nothing)
        assert store.problem == first
        assert store.degraded
    assert [r.levelno for r in caplog.records if "newer Nexus" in r.message] == [logging.ERROR]


async def test_the_database_of_another_program_is_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    async with opened(path) as store:
        assert "database of another program" in str(store.problem)
        with pytest.raises(StoreUnavailableError):
            await store.write(put(1))
    assert path.read_bytes() == before


async def test_who_asks_while_another_program_holds_the_file_does_not_wait_for_long(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.3)
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600.0)
    attempts = 0
    commit = Store._commit

    def counted(connection: sqlite3.Connection, batch: list[module._Waiting]) -> None:
        nonlocal attempts
        attempts += 1
        commit(connection, batch)

    monkeypatch.setattr(Store, "_commit", staticmethod(counted))
    async with opened(path) as store:
        async with locked(path):
            for _ in range(50):
                with pytest.raises(StoreUnavailableError, match="held by another program"):
                    await store.write(nothing)
            store.post(put(1))
        assert attempts == 1
    with closing(sqlite3.connect(path)) as file:
        assert count(file) == 1  # written at the end, though the next try was an hour away


async def test_it_recovers_by_itself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.05)
    async with opened(path) as store:
        async with locked(path):
            with pytest.raises(StoreUnavailableError):
                await store.write(nothing)
            store.post(put(1))
            assert store.degraded
        written = asyncio.Event()
        store.post(nothing, done=lambda _: written.set())
        async with asyncio.timeout(20):
            await written.wait()
        assert not store.degraded
        assert store.problem is None
        assert await store.read(count) == 1


async def test_a_file_that_is_removed_while_in_use_is_made_anew(path: Path) -> None:
    async with opened(path) as store:
        await store.write(put(1))
        for part in path.parent.glob("nexus.db*"):
            part.unlink()
        await store.write(put(2))
        assert await store.read(count) == 1
    assert path.exists()


async def test_letting_go_of_a_replaced_file_does_no_harm_to_the_new_one(path: Path) -> None:
    async with opened(path) as late:
        await late.write(put(1))
        for part in path.parent.glob("nexus.db*"):
            part.unlink()
        async with opened(path) as quick:
            await quick.write(put(2))  # in the log of the new file, not in the file yet
            await late.write(put(3))  # lets go of the old one
            await quick.write(put(4))
            assert await quick.read(count) == 3
    with closing(sqlite3.connect(path)) as file:
        assert count(file) == 3


async def test_a_file_that_breaks_in_use_is_moved_aside(path: Path) -> None:
    def fill(connection: sqlite3.Connection) -> None:
        rows = [(f"owner-{n}" * 20,) for n in range(2000)]
        connection.executemany("INSERT INTO leases VALUES (?, 1, 0)", rows)

    async with opened(path) as store:
        await store.write(fill)
    write_garbage(path)
    async with opened(path) as store:
        assert store.problem is None  # nobody has read the bad pages yet
        with pytest.raises(StoreUnavailableError, match="moved to"):
            await store.write(count)
        await store.write(put(1))
        assert "moved to" in str(store.problem)
        assert not store.degraded
        assert await store.read(count) == 1


async def test_what_was_moved_aside_is_never_written_over(path: Path) -> None:
    path.parent.mkdir()
    for text in (b"first", b"second", b"third"):
        path.write_bytes(text * 5000)
        async with opened(path):
            pass
    kept = {file.read_bytes()[:5] for file in path.parent.glob("*.unreadable-*")}
    assert kept == {b"first", b"secon", b"third"}


async def test_what_is_owed_is_bounded_and_what_is_lost_is_said(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.1)
    monkeypatch.setattr(module, "RETRY_SECONDS", 3600.0)
    monkeypatch.setattr(module, "MOST_OWED", 5)
    async with opened(path) as store, locked(path):
        for number in range(9):
            store.post(put(number))
        with pytest.raises(StoreUnavailableError):
            await store.write(nothing)
        assert "are lost" in str(store.problem)
    with closing(sqlite3.connect(path)) as file:
        owners = [owner for (owner,) in file.execute("SELECT owner FROM leases ORDER BY owner")]
    assert owners == [f"owner-{number}" for number in range(5)]


async def test_two_that_open_an_old_file_at_once_bring_it_up_to_date_once(path: Path) -> None:
    path.parent.mkdir()
    async with opened(path):
        pass
    path.unlink()
    old = Store(path, migrations=MIGRATIONS[:1])
    await old.open()
    await old.close()
    both = [Store(path), Store(path)]
    await asyncio.gather(*(store.open() for store in both))
    for store in both:
        assert store.problem is None
        await store.write(nothing)
        await store.close()


async def test_a_file_that_another_program_holds_holds_up_no_start(path: Path) -> None:
    """The reservation waits for it, and is durable when it comes back."""
    async with opened(path):
        pass
    store = Store(path)
    book = Ledger(store, Bus(), BudgetConfig(monthly_limit_usd=0.01))
    async with locked(path):
        await store.open()
        await book.start()  # the lock is still held
        waiting = spawn(reserve(book), name="request")
        await asyncio.sleep(0)
        assert not waiting.done()
    await waiting
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT state FROM entries").fetchall() == [("reserved",)]
    book.stop()
    await store.close()


async def test_jobs_may_be_given_before_the_file_is_opened(path: Path) -> None:
    store = Store(path)
    early = spawn(store.write(put(1)), name="early")
    await asyncio.sleep(0)
    await store.open()
    await early
    assert await store.read(count) == 1
    await store.close()


async def test_a_lack_of_memory_ends_no_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(_connection: sqlite3.Connection, _batch: list[module._Waiting]) -> None:
        raise MemoryError("short of it")

    async with opened(path) as store:
        await store.write(put(1))
        with monkeypatch.context() as patch:
            patch.setattr(Store, "_commit", staticmethod(short))
            store.post(put(2))
            with pytest.raises(StoreUnavailableError, match="short of it"):
                await store.write(nothing)
        await store.write(put(3))
        assert await store.read(count) == 3
        assert store.problem is None
