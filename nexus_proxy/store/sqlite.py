"""The SQLite file behind a thread: many jobs share one durable commit.

A job is a function of the connection. Jobs run in the order in which they were given, each in a
savepoint of its own, so that one which raises undoes only itself; all that wait at one time are
committed together, with one fsync. Those that nobody waits for go with the next one that somebody
does, or soon by themselves: under load that halves the commits. Several processes may share the
file: a batch begins with `BEGIN IMMEDIATE`, so what a job reads is still true when it writes.

A disk that is full or read-only makes nobody stop: `write` raises `StoreUnavailableError`, what was
`post`ed is kept and tried again, and `problem` says what is wrong until it is over. A file that is
no database any more is moved aside, never deleted, and a new one begun; one that is gone or was
replaced while it was open is let go of for what stands there now.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.store import files
from nexus_proxy.store.schema import MIGRATIONS

log = logging.getLogger(__name__)

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

OPEN_SECONDS = 0.25
BUSY_SECONDS = 5.0
"""How long a batch waits for another process's."""
STILL_BUSY_SECONDS = 0.2
"""How long it waits when the one before has waited in vain."""
SOON_SECONDS = 0.02
"""How long a job may be kept that nobody waits for."""
MOST_AT_ONCE = 256
MOST_OWED = 10_000
"""Posted jobs that are kept while the disk refuses; what comes beyond is lost, with a line in the
log and in `problem`."""
RETRY_SECONDS = 2.0

_FAULTS = (sqlite3.Error, OSError, MemoryError)
"""What the file, its disk or the machine does to us. SQLite's lack of memory is Python's own error;
uncaught, it would end the thread, and who writes would wait for ever."""
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
        if self.done is not None and self.error is None:
            self.done(self.result)
        if self.future is None:
            if self.error is not None:
                log.error("a change could not be saved: %s", self.error)
        elif not self.future.done():
            if self.error is not None:
                self.future.set_exception(self.error)
            else:
                self.future.set_result(self.result)


class Store:
    """One file.

    Attributes:
        problem: a sentence while something is wrong with it, else None.
        degraded: nothing can be written now. A problem without it is one of the past: a file was
            moved aside.
    """

    def __init__(self, path: Path, *, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self.problem: str | None = None
        self.degraded = False
        self._migrations = tuple(migrations)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._posted: list[_Waiting] = []
        self._soon: asyncio.TimerHandle | None = None
        self._owed: deque[_Waiting] = deque()
        self._lost = 0
        self._moved: str | None = None
        self._try_again_at = 0.0
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    # -- for the loop --------------------------------------------------------------------------

    async def open(self) -> None:
        """Open, or make, the file. Never raises: see `problem`. Waits for `OPEN_SECONDS` at most,
        so that a file which another program holds does not hold up the gateway; jobs wait."""
        self._loop = asyncio.get_running_loop()
        tried = self._loop.create_future()
        first = _Waiting(lambda _connection: None, tried)
        self._thread = threading.Thread(
            target=self._run, args=(first,), name="nexus store", daemon=True
        )
        self._thread.start()
        await asyncio.wait([tried], timeout=OPEN_SECONDS)

    async def write(self, job: Job[T], *, done: Callable[[T], None] | None = None) -> T:
        """Run `job`; durable when this returns. Waits for the file to be opened. `done` as for
        `post`: it hears of jobs in their order, which who waits may not. Raises what `job` raised,
        or `StoreUnavailableError`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._posted.append(_Waiting(job, future, done))
        self._hand_over()
        return await future

    def post(self, job: Job[T], *, done: Callable[[T], None] | None = None) -> None:
        """Run `job` soon, after all that were given before. Nobody waits for it; `done` is called
        on the loop with its result once that is durable."""
        self._posted.append(_Waiting(job, done=done))
        if self._soon is None:
            loop = asyncio.get_running_loop()
            self._soon = loop.call_later(SOON_SECONDS, self._hand_over)

    async def flush(self) -> None:
        """Return once all that was given so far is in the file. Raises `StoreUnavailableError`."""
        if self._thread is not None and self._thread.is_alive():  # and not closed before
            await self.write(lambda _connection: None)

    def _hand_over(self) -> None:
        """Give the thread all that it does not have yet."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        posted, self._posted = self._posted, []
        self._jobs.put(posted)

    async def read(self, job: Job[T]) -> T:
        """Run a job that only reads, on a connection of its own; also where nothing can be written.
        Raises `StoreUnavailableError`."""
        return await asyncio.to_thread(self._read, job)

    async def close(self) -> None:
        """Write what is due, and close. Bounded by `BUSY_SECONDS` and a little."""
        if self._thread is None:
            return
        self._hand_over()
        self._jobs.put(_STOP)
        await asyncio.to_thread(self._thread.join, BUSY_SECONDS + 2.0)

    # -- in the thread -------------------------------------------------------------------------

    def _run(self, first: _Waiting) -> None:
        self._try_to_open()
        self._deliver([first])
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            if self._try_again_at > time.monotonic() and not stopping:
                self._refuse(batch)
                self._deliver(batch)
                continue
            waiting = [*self._owed, *batch]
            self._owed.clear()
            if waiting or self.degraded:
                self._do(waiting)
        if self._owed:
            log.error("%d changes could not be saved: %s", len(self._owed), self.problem)
        if self._connection is not None:
            self._connection.close()

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        batch: list[_Waiting] = []
        try:
            item = self._jobs.get(timeout=RETRY_SECONDS if self._owed or self.degraded else None)
            while item is not _STOP:
                batch += item
                if len(batch) >= MOST_AT_ONCE:
                    return batch, False
                item = self._jobs.get_nowait()
        except queue.Empty:
            return batch, False
        return batch, True

    def _do(self, batch: list[_Waiting]) -> None:
        try:
            self._commit(self._opened(), batch)
        except _FAULTS as error:
            self._failed(error)
            self._refuse(batch)
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
                except Exception as error:
                    if files.is_file_fault(error):
                        raise
                    waiting.error = error  # raised where it was asked for
                    connection.execute("ROLLBACK TO job")
                connection.execute("RELEASE job")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _refuse(self, batch: list[_Waiting]) -> None:
        """Nothing of the batch was written: who waits is told, what was posted is kept."""
        for waiting in batch:
            waiting.result = waiting.error = None
            if waiting.future is not None:
                waiting.error = StoreUnavailableError(self.problem or "")
            elif len(self._owed) < MOST_OWED:
                self._owed.append(waiting)
            else:
                self._lost += 1
        if self._lost and "are lost" not in (self.problem or ""):
            log.error("more changes wait than can be kept: from now on they are lost")
            self.problem = f"{self.problem} More wait than can be kept, and are lost."

    def _deliver(self, batch: list[_Waiting]) -> None:
        owed = set(map(id, self._owed))
        told = [w for w in batch if (w.future or w.done or w.error) and id(w) not in owed]
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
            self._opened()
        except _FAULTS as error:
            self._failed(error)

    def _opened(self) -> sqlite3.Connection:
        """The connection to the file that has the name now."""
        if self._connection is not None and files.identity(self.path) != self._identity:
            log.error("%s was removed or replaced while Nexus runs: it begins anew", self.path)
            # SQLite sees that the name is another file's now, and leaves that one's log alone.
            self._connection.close()
            self._connection = None
        if self._connection is None:
            seconds = STILL_BUSY_SECONDS if self.degraded else BUSY_SECONDS
            self._connection = files.connect(self.path, self._migrations, busy_seconds=seconds)
            self._identity = files.identity(self.path)
        return self._connection

    def _failed(self, error: Exception) -> None:
        """Say what is wrong, and do about it what can be done."""
        if files.is_corrupt(error):
            self._begin_anew()
            return
        self._complain(error)
        if files.is_busy(error):
            self._try_again_at = time.monotonic() + RETRY_SECONDS
        connection = self._connection
        if connection is None:
            return
        if files.is_busy(error):
            connection.execute(f"PRAGMA busy_timeout = {STILL_BUSY_SECONDS * 1000:.0f}")
        elif files.code_of(error) != sqlite3.SQLITE_FULL or connection.in_transaction:
            connection.close()
            self._connection = None

    def _begin_anew(self) -> None:
        if self._connection is not None:
            if files.identity(self.path) != self._identity:
                return  # another process did it already: see _opened
            self._connection.close()
            self._connection = None
        try:
            aside = files.move_aside(self.path)
            self._opened()
        except _FAULTS as error:
            self._complain(error)
            return
        self._moved = (
            f"{self.path} could not be read and was moved to {aside.name}: spend and quality "
            "begin anew. Restore it from a backup, or go on."
        )
        self.problem = self._moved
        log.error(self.problem)

    def _read(self, job: Job[T]) -> T:
        try:
            connection = files.connect_to_read(
                self.path, self._migrations, busy_seconds=BUSY_SECONDS
            )
            try:
                return job(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"{self.path} cannot be read: {error}") from error

    def _complain(self, error: Exception) -> None:
        if isinstance(error, files.RefusedFileError):
            problem = f"{self.path} is not used: {error}. Until then spend is counted in memory."
        elif files.is_busy(error):
            problem = (
                f"{self.path} is held by another program: spend is counted in memory only until "
                "it lets go. End what holds it, or set state.path."
            )
        else:
            problem = (
                f"{self.path} cannot be written ({error}): spend is counted in memory only until "
                "it can. Free some space, mend its rights, or set state.path."
            )
        if not self.degraded or not (self.problem or "").startswith(problem):
            log.error(problem)
            self.problem = problem
        self.degraded = True

    def _recovered(self) -> None:
        if not self.degraded:
            return
        self.degraded, self._try_again_at = False, 0.0
        self.problem = self._moved
        if self._connection is not None:
            self._connection.execute(f"PRAGMA busy_timeout = {BUSY_SECONDS * 1000:.0f}")
        log.warning("%s can be written again", self.path)
        if self._lost:
            log.error("%d changes are lost: more waited than could be kept", self._lost)
            self._lost = 0
