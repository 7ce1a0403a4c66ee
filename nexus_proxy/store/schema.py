"""The schema, version by version. `PRAGMA user_version` says how many steps a file has taken.

Money is kept in nano-USD, whole: a token at $0.05 per million costs 50 of them, and sums of
integers are exact. NULL means that the price is not known, which is never zero.
"""

from __future__ import annotations

from nexus_proxy.quality.rows import TABLE as QUALITY_TABLE

NANO = 1_000_000_000
"""Nano-USD in one USD."""

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE entries (
        id TEXT PRIMARY KEY, request_id TEXT NOT NULL, owner TEXT NOT NULL,
        at REAL NOT NULL, day TEXT NOT NULL,
        backend TEXT NOT NULL, model TEXT NOT NULL, model_asked TEXT NOT NULL,
        key TEXT NOT NULL DEFAULT '',
        state TEXT NOT NULL, provenance TEXT NOT NULL, nanousd INTEGER,
        prompt_tokens INTEGER, cached_tokens INTEGER, cache_write_tokens INTEGER,
        completion_tokens INTEGER, reasoning_tokens INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX entries_day ON entries(day);
    CREATE INDEX entries_open ON entries(owner) WHERE state = 'reserved';
    CREATE TABLE totals (
        month TEXT NOT NULL, key TEXT NOT NULL DEFAULT '',
        spent INTEGER NOT NULL DEFAULT 0, reserved INTEGER NOT NULL DEFAULT 0,
        unknown INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (month, key)
    ) WITHOUT ROWID;
    CREATE TABLE usage (
        day TEXT NOT NULL, backend TEXT NOT NULL, model TEXT NOT NULL,
        key TEXT NOT NULL DEFAULT '',
        requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        PRIMARY KEY (day, backend, model, key)
    ) WITHOUT ROWID;
    CREATE TABLE leases (owner TEXT PRIMARY KEY, pid INTEGER NOT NULL, beat REAL NOT NULL);
    """,
    QUALITY_TABLE,
    """
    ALTER TABLE totals ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE replica (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), id TEXT NOT NULL);
    INSERT INTO replica VALUES (1, lower(hex(randomblob(12))));
    """,
    """
    CREATE TABLE load_times (
        backend TEXT NOT NULL, model TEXT NOT NULL, seconds REAL NOT NULL,
        PRIMARY KEY (backend, model)
    ) WITHOUT ROWID;
    CREATE TABLE request_hours (
        start INTEGER NOT NULL, backend TEXT NOT NULL, model TEXT NOT NULL,
        requests INTEGER NOT NULL,
        PRIMARY KEY (start, backend, model)
    ) WITHOUT ROWID;
    """,
)
"""Each is run once, in order, in a transaction of its own."""
