"""The file itself: opened, brought up to date, moved aside; and whose fault an error is."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

APPLICATION = 0x4E58_5553
"""`PRAGMA application_id` of our files ("NXUS"); those of the first versions have none."""

_FILE_FAULTS = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""Result codes that say something of the file and nothing of the statement
(https://www.sqlite.org/rescode.html)."""

_NOTHING_BESIDE = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL}
)
"""What SQLite says where it cannot make the files that it keeps beside a database."""


class RefusedFileError(sqlite3.DatabaseError):
    """A sound file that is not for this Nexus: of a newer one, or of another program."""


def code_of(error: BaseException) -> int | None:
    """SQLite's primary result code, where the error has one."""
    extended: int | None = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def is_file_fault(error: BaseException) -> bool:
    """Whether the file or its disk is to blame, rather than the statement."""
    return code_of(error) in _FILE_FAULTS


def is_corrupt(error: BaseException) -> bool:
    """Whether the file is no sound database."""
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_busy(error: BaseException) -> bool:
    """Whether another process held the file for too long."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from another one of the same name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def connect(path: Path, migrations: Sequence[str], *, busy_seconds: float) -> sqlite3.Connection:
    """Open the file, made if need be, with all migrations. Raises `sqlite3.Error`, `OSError` and
    `RefusedFileError`."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Made by us, so that nobody else can read it for a moment.
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    try:
        # Before WAL, which would change a file that is not ours.
        _refuse_foreign(connection, len(migrations))
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_to_read(
    path: Path, migrations: Sequence[str], *, busy_seconds: float
) -> sqlite3.Connection:
    """Open the file to read it, changed by nothing. Raises `sqlite3.Error`.

    Beside a file that others may be writing SQLite keeps one that they share. Where a full or
    read-only disk does not take that, nobody else writes, and the file is read as it stands.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    try:
        return _opened_to_read(uri, migrations, busy_seconds)
    except sqlite3.OperationalError as error:
        if code_of(error) not in _NOTHING_BESIDE:
            raise
        return _opened_to_read(f"{uri}&immutable=1", migrations, busy_seconds)


def _opened_to_read(uri: str, migrations: Sequence[str], seconds: float) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=seconds, check_same_thread=False)
    try:
        _refuse_foreign(connection, len(migrations))
    except BaseException:
        connection.close()
        raise
    return connection


def move_aside(path: Path) -> Path:
    """Rename the file, and what SQLite keeps beside it, to a name with the time in it."""
    stem = f"{path.name}.unreadable-{time.strftime('%Y%m%d-%H%M%S')}"
    aside, number = path.with_name(stem), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{stem}-{number}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside


def _refuse_foreign(connection: sqlite3.Connection, known: int) -> None:
    version = _pragma(connection, "user_version")
    application = _pragma(connection, "application_id")
    (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if application not in (0, APPLICATION) or (tables and not version):
        raise RefusedFileError(
            "it is the database of another program; set state.path to a file of its own"
        )
    if version > known:
        raise RefusedFileError(
            f"it was written by a newer Nexus (schema {version}, this one knows {known}); "
            "update Nexus, or set state.path to another file"
        )


def _migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _pragma(connection, "user_version")  # another process may have been quicker
        for script in migrations[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        if version < len(migrations):
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
        if _pragma(connection, "application_id") != APPLICATION:
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)
