"""Entries of the ledger as SQL: what is reserved, settled and released, each in one job.

`totals` holds the sums of every month, overall (key `''`) and for each API key; it changes in the
same transaction as the entries, so that a limit is checked without adding up a month.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from msgspec import Struct

from nexus_proxy.accounting.usage import TokenUsage

ALL = ""
"""Key under which the sum over all API keys stands."""


class Entry(Struct, frozen=True, kw_only=True):
    """One priced request, when it is reserved. `at` in seconds since the epoch, `day` as
    `YYYY-MM-DD` and `month` as `YYYY-MM` in the user's time zone; `nanousd` None: unknown price."""

    id: str
    request_id: str
    owner: str
    at: float
    day: str
    month: str
    backend: str
    model: str
    model_asked: str
    key: str
    nanousd: int | None


class Sums(Struct, frozen=True):
    """A month's money in nano-USD, and how many requests have no known price.

    `revision` counts the changes of what stands in the file; 0 for what does not stand there.
    """

    spent: int = 0
    reserved: int = 0
    unknown: int = 0
    revision: int = 0

    def __add__(self, more: Sums) -> Sums:
        return Sums(
            self.spent + more.spent, self.reserved + more.reserved, self.unknown + more.unknown
        )

    @property
    def figures(self) -> tuple[int, int, int]:
        """As replicas publish them."""
        return self.spent, self.reserved, self.unknown

    def __neg__(self) -> Sums:
        return Sums(-self.spent, -self.reserved, -self.unknown)


NOTHING = Sums()


class Settlement(Struct, frozen=True, kw_only=True):
    """What an entry came to. `state` is `settled`, or `interrupted` for an answer that was cut."""

    nanousd: int | None
    provenance: str
    usage: TokenUsage
    state: str


def sums(connection: sqlite3.Connection, month: str, key: str = ALL) -> Sums:
    """The sums of a month."""
    row = connection.execute(
        "SELECT spent, reserved, unknown, revision FROM totals WHERE month = ? AND key = ?",
        (month, key),
    ).fetchone()
    return Sums(*row) if row else NOTHING


def reserve(connection: sqlite3.Connection, entry: Entry) -> None:
    """Write an entry down. Does nothing where it is there already: a disk that failed may have
    written it all the same."""
    new = connection.execute(
        "INSERT INTO entries (id, request_id, owner, at, day, backend, model, model_asked, key,"
        " state, provenance, nanousd) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'reserved', ?, ?)"
        " ON CONFLICT DO NOTHING",
        (
            entry.id,
            entry.request_id,
            entry.owner,
            entry.at,
            entry.day,
            entry.backend,
            entry.model,
            entry.model_asked,
            entry.key,
            "unknown" if entry.nanousd is None else "estimated",
            entry.nanousd,
        ),
    ).rowcount
    if new:
        _add(connection, entry.month, entry.key, Sums(reserved=entry.nanousd or 0))


def settle(connection: sqlite3.Connection, entry: Entry, settled: Settlement) -> None:
    """Replace the estimate by what the request came to; what another process has booked for it,
    that took this one for dead, as well. Does nothing where the entry is settled already, and
    writes it anew where the file that held it is gone."""
    before = _counted(connection, entry)
    if before is None:
        reserve(connection, entry)
        before = _counted(connection, entry)
        if before is None:
            return
    usage = settled.usage
    connection.execute(
        "UPDATE entries SET state = ?, provenance = ?, nanousd = ?, prompt_tokens = ?,"
        " cached_tokens = ?, cache_write_tokens = ?, completion_tokens = ?, reasoning_tokens = ?"
        " WHERE id = ?",
        (
            settled.state,
            settled.provenance,
            settled.nanousd,
            usage.prompt,
            usage.cached,
            usage.cache_write + usage.cache_write_1h,
            usage.completion,
            usage.reasoning,
            entry.id,
        ),
    )
    now = Sums(spent=settled.nanousd or 0, unknown=int(settled.nanousd is None))
    _add(connection, entry.month, entry.key, now + -before)


def release(connection: sqlite3.Connection, entry: Entry) -> None:
    """Forget an entry that came to nothing."""
    before = _counted(connection, entry)
    if before is not None:
        connection.execute("DELETE FROM entries WHERE id = ?", (entry.id,))
        _add(connection, entry.month, entry.key, -before)


def _counted(connection: sqlite3.Connection, entry: Entry) -> Sums | None:
    """What an entry that is not settled counts for in the sums. None: there is none.

    One that was booked for a dead process is told from a cut answer by its tokens, which nobody
    has counted.
    """
    row = connection.execute(
        "SELECT state, nanousd FROM entries WHERE id = ? AND (state = 'reserved' OR"
        " state = 'interrupted' AND prompt_tokens IS NULL AND completion_tokens IS NULL)",
        (entry.id,),
    ).fetchone()
    if row is None:
        return None
    state, nanousd = row
    known = nanousd or 0
    if state == "reserved":
        return Sums(reserved=known)
    return Sums(spent=known, unknown=int(nanousd is None))


def interrupt(connection: sqlite3.Connection, owner: str) -> int:
    """Book what a dead process had reserved, at its estimate: it may have been spent, and what may
    have been spent is never forgotten. Returns how many entries there were."""
    lost = connection.execute(
        "SELECT id, substr(day, 1, 7), key, nanousd FROM entries"
        " WHERE owner = ? AND state = 'reserved'",
        (owner,),
    ).fetchall()
    for id_, month, key, nanousd in lost:
        connection.execute("UPDATE entries SET state = 'interrupted' WHERE id = ?", (id_,))
        known = nanousd or 0
        change = Sums(spent=known, reserved=-known, unknown=int(nanousd is None))
        _add(connection, month, key, change)
    connection.execute("DELETE FROM leases WHERE owner = ?", (owner,))
    return len(lost)


def owners(connection: sqlite3.Connection) -> list[tuple[str, int | None, float | None]]:
    """Everybody with a lease or an open entry: name, process id and last sign of life, where they
    left one."""
    return connection.execute(
        "SELECT owner, pid, beat FROM leases UNION"
        " SELECT DISTINCT e.owner, l.pid, l.beat FROM entries e LEFT JOIN leases l"
        " ON l.owner = e.owner WHERE e.state = 'reserved'"
    ).fetchall()


def beat(connection: sqlite3.Connection, owner: str, pid: int, now: float) -> None:
    """A sign of life."""
    connection.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?)", (owner, pid, now))


def add_usage(
    connection: sqlite3.Connection,
    rows: Iterable[tuple[str, str, str, str, int, int, int]],
) -> None:
    """Add unpriced traffic: day, backend, model, key, requests, prompt and completion tokens."""
    connection.executemany(
        "INSERT INTO usage VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " requests = requests + excluded.requests,"
        " prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
        " completion_tokens = completion_tokens + excluded.completion_tokens",
        rows,
    )


def _add(connection: sqlite3.Connection, month: str, key: str, change: Sums) -> None:
    for one in {ALL, key}:
        connection.execute(
            "INSERT INTO totals VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET"
            " spent = spent + excluded.spent, reserved = reserved + excluded.reserved,"
            " unknown = unknown + excluded.unknown, revision = revision + 1",
            (month, one, *change.figures),
        )
