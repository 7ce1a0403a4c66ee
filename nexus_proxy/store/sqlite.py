"""The SQLite file behind a thread: many jobs share one durable commit.

A job is a function of the connection. Jobs run in the order in which they were given, each in a
savepoint of its own, so that one which raises undoes only itself; all that wait at one time are
committed together, with one fsync. Several processes may share the file: a batch begins with
`BEGIN IMMEDIATE`, so what a job reads is still true when it writes.

A disk that is full or read-only makes nobody stop: `write` raises `StoreUnavailableError`, what was
`post`ed is kept and tried again, and `problem` says what is wrong until it is over. A file that is
no database any more is moved aside, never deleted, and a new one begun.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.store.schema import MIGRATIONS

log = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

BUSY_SECONDS = 5.0
"""How long a batch waits for another process's."""
MOST_AT_ONCE = 256
MOST_OWED = 10_000
"""Posted jobs that are kept while the disk refuses; the oldest are lost beyond it, with a line in
the log."""
RETRY_SECONDS = 2.0

_STOP = object()


class _Waiting:
    """A job, and who waits for it."""

    __slots__ = ("done", "error", "future", "job", "result")

    def __init__(
        self,
        job: Job[Any],
        future: asyncio.Future[Any] | None = None,
        done: Callable[[Any], None] | None = None,
    ) -> None:
        self.job, self.future, self.done = job, future, done
        self.result: Any = None
        self.error: BaseException | None = None

    def tell(self) -> None:
        """On the loop: hand over what came of it."""
        if self.future is not None and not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.result)
        elif self.done is not None and self.error is None:
            self.done(self.result)
        elif self.future is None and self.error is not None:
            log.error("a change could not be saved: %s", self.error)


class Store:
    """One file. `problem` is a sentence while something is wrong with it, else None."""

    def __init__(self, path: Path, *, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self.problem: str | None = None
        self._migrations = tuple(migrations)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._owed: deque[_Waiting] = deque()
        self._connection: sqlite3.Connection | None = None
        self._thread: threading.Thread | None = None

    # -- for the loop --------------------------------------------------------------------------

    async def open(self) -> None:
        """Open, or make, the file. Never raises: see `problem`."""
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._try_to_open)
        self._thread = threading.Thread(target=self._run, name="nexus store", daemon=True)
        self._thread.start()

    async def write(self, job: Job[T]) -> T:
        """Run `job`; durable when this returns. Waits for `open`, if need be. Raises what `job`
        raised, or `StoreUnavailableError`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Waiting(job, future))
        return await future

    def post(self, job: Job[T], *, done: Callable[[T], None] | None = None) -> None:
        """Run `job` some time, after all that were given before. Nobody waits for it; `done` is
        called on the loop with its result once that is durable."""
        self._jobs.put(_Waiting(job, done=done))

    async def read(self, job: Job[T]) -> T:
        """Run a job that only reads, on a connection of its own. Raises `StoreUnavailableError`."""
        return await asyncio.to_thread(self._read, job)

    async def close(self) -> None:
        """Write what is due, and close. Bounded by `BUSY_SECONDS` and a little."""
        if self._thread is None:
            return
        self._jobs.put(_STOP)
        await asyncio.to_thread(self._thread.join, BUSY_SECONDS + 2.0)

    # -- in the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            waiting = [*self._owed, *batch]
            self._owed.clear()
            if waiting:
                self._do(waiting)
        if self._owed:
            log.error("%d changes could not be saved: %s", len(self._owed), self.problem)
        if self._connection is not None:
            self._connection.close()

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        batch: list[_Waiting] = []
        try:
            item = self._jobs.get(timeout=RETRY_SECONDS if self._owed or self.problem else None)
            while item is not _STOP:
                batch.append(item)
                if len(batch) >= MOST_AT_ONCE:
                    return batch, False
                item = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _do(self, batch: list[_Waiting]) -> None:
        try:
            if self._connection is None:
                self._try_to_open()
            if self._connection is None:
                raise sqlite3.OperationalError(self.problem)
            self._commit(self._connection, batch)
        except sqlite3.Error as error:
            self._refuse(batch, error)
        else:
            self._recovered()
        self._deliver(batch)

    @staticmethod
    def _commit(connection: sqlite3.Connection, batch: list[_Waiting]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            for waiting in batch:
                connection.execute("SAVEPOINT job")
                try:
                    waiting.result = waiting.job(connection)
                except sqlite3.OperationalError:
                    raise  # the disk's fault, not the job's
                except Exception as error:  # noqa: BLE001 - raised where it was asked for
                    waiting.error = error
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _refuse(self, batch: list[_Waiting], error: sqlite3.Error) -> None:
        """Nothing of the batch was written."""
        self._complain(error)
        if _is_no_database(error):
            self._move_aside()
        for waiting in batch:
            waiting.result = None
            if waiting.future is not None:
                waiting.error = StoreUnavailableError(self.problem or str(error))
            elif len(self._owed) < MOST_OWED:
                self._owed.append(waiting)
            else:
                log.error("a change could not be saved and is lost: %s", self.problem)

    def _deliver(self, batch: list[_Waiting]) -> None:
        owed = set(map(id, self._owed))
        told = [w for w in batch if (w.future or w.done) and id(w) not in owed]
        if not told or self._loop is None:
            return

        def tell() -> None:
            for waiting in told:
                waiting.tell()

        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    # -- the file ------------------------------------------------------------------------------

    def _try_to_open(self) -> None:
        try:
            self._connection = self._open_file()
        except (sqlite3.Error, OSError) as error:
            self._complain(error)
            if isinstance(error, sqlite3.Error) and _is_no_database(error):
                self._move_aside()

    def _open_file(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Made by us, so that nobody else can read it for a moment.
        os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = sqlite3.connect(
            self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > len(self._migrations):
                raise sqlite3.NotSupportedError(
                    f"it was written by a newer Nexus (schema {version}, this one knows "
                    f"{len(self._migrations)}); update Nexus, or set state.path to another folder"
                )
            for script in self._migrations[version:]:
                for statement in filter(str.strip, script.split(";")):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(self._migrations)}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _move_aside(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        aside = self.path.with_name(f"{self.path.name}.unreadable-{time.strftime('%Y%m%d-%H%M%S')}")
        try:
            for suffix in ("", "-wal", "-shm"):
                part = self.path.with_name(self.path.name + suffix)
                if part.exists():
                    part.rename(aside.with_name(aside.name + suffix))
            self._connection = self._open_file()
        except (sqlite3.Error, OSError) as error:
            self._complain(error)
            return
        self.problem = (
            f"{self.path} could not be read and was moved to {aside.name}: spend and quality "
            "begin anew. Restore it from a backup, or go on."
        )
        log.error(self.problem)

    def _read(self, job: Job[T]) -> T:
        try:
            connection = sqlite3.connect(
                f"file:{self.path}?mode=ro", uri=True, timeout=BUSY_SECONDS
            )
            try:
                return job(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"{self.path} cannot be read: {error}") from error

    def _complain(self, error: Exception) -> None:
        problem = (
            f"{self.path} cannot be written ({error}): spend is counted in memory only until it "
            "can. Free some space, mend its rights, or set state.path."
        )
        if problem != self.problem:
            self.problem = problem
            log.error(problem)

    def _recovered(self) -> None:
        if self.problem is not None and "moved to" not in self.problem:
            log.warning("%s can be written again", self.path)
            self.problem = None


def _is_no_database(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.DatabaseError) and any(
        mark in str(error) for mark in ("malformed", "not a database")
    )
