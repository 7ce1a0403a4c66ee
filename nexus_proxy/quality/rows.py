"""Windows as rows of a table, so that they survive a restart.

A row is one bucket, whole: saving it again replaces it. Rows hold names and counts, nothing of
what was asked or answered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta, Struct

from nexus_proxy.quality.windows import BINS, Bucket

TABLE = """\
CREATE TABLE quality_bucket (
    backend   TEXT    NOT NULL,
    model     TEXT    NOT NULL,
    width     INTEGER NOT NULL,  -- seconds: 60 or 900
    start     INTEGER NOT NULL,  -- seconds since the epoch, a multiple of width
    requests  INTEGER NOT NULL,
    faults    INTEGER NOT NULL,
    cuts      INTEGER NOT NULL,
    first_sum REAL    NOT NULL,  -- milliseconds
    firsts    TEXT    NOT NULL,  -- counts by bin of nexus_proxy.quality.windows.BOUNDS, or empty
    rate_sum  REAL    NOT NULL,  -- tokens per second
    rates     INTEGER NOT NULL,
    PRIMARY KEY (backend, model, width, start)
) WITHOUT ROWID"""
SAVE = "INSERT OR REPLACE INTO quality_bucket VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
FORGET = "DELETE FROM quality_bucket WHERE backend = ?"
EXPIRE = "DELETE FROM quality_bucket WHERE start < ?"
LOAD = "SELECT * FROM quality_bucket"

Count = Annotated[int, Meta(ge=0, le=2**53)]
Sum = Annotated[float, Meta(ge=0, le=1e18)]
Name = Annotated[str, Meta(min_length=1, max_length=2048)]


class Row(NamedTuple):
    """One bucket, in the order of the table's columns."""

    backend: str
    model: str
    width: int
    start: int
    requests: int
    faults: int
    cuts: int
    first_sum: float
    firsts: str
    rate_sum: float
    rates: int


class Saved(NamedTuple):
    """What changed since the last time: rows to save, backends to forget, and the start in seconds
    since the epoch before which rows are too old to be of use."""

    rows: list[Row]
    forgotten: list[str]
    oldest: int


class _Readable(Struct, array_like=True, forbid_unknown_fields=True):
    backend: Name
    model: Name
    width: Count
    start: Count
    requests: Count
    faults: Count
    cuts: Count
    first_sum: Sum
    firsts: str
    rate_sum: Sum
    rates: Count


_decode_bins = msgspec.json.Decoder(list[Count]).decode


def row_of(backend: str, model: str, width: int, start: int, bucket: Bucket) -> Row:
    """A bucket as a row."""
    return Row(
        backend=backend,
        model=model,
        width=width,
        start=start,
        requests=bucket.requests,
        faults=bucket.faults,
        cuts=bucket.cuts,
        first_sum=bucket.first_sum,
        firsts=msgspec.json.encode(bucket.firsts).decode() if bucket.firsts else "",
        rate_sum=bucket.rate_sum,
        rates=bucket.rates,
    )


def bucket_of(row: Sequence[object]) -> tuple[str, str, int, int, Bucket]:
    """Backend, model, width, start and bucket of a row. Raises `ValueError` where it makes no
    sense: other columns, negative counts, more faults than requests, bins of another version."""
    read = msgspec.convert(tuple(row), _Readable, strict=True)
    bucket = Bucket()
    if not read.cuts <= read.faults <= read.requests:
        raise ValueError("more faults than requests")
    bucket.requests, bucket.faults, bucket.cuts = read.requests, read.faults, read.cuts
    bucket.rate_sum, bucket.rates = read.rate_sum, read.rates
    if read.firsts:
        bucket.firsts = _decode_bins(read.firsts)
        bucket.first_sum = read.first_sum
        if len(bucket.firsts) != BINS:
            raise ValueError("bins of another version")
    return read.backend, read.model, read.width, read.start, bucket


def save(connection: sqlite3.Connection, saved: Saved) -> None:
    """A job of the store: replace what changed."""
    connection.executemany(FORGET, [(name,) for name in saved.forgotten])
    connection.executemany(SAVE, saved.rows)
    connection.execute(EXPIRE, (saved.oldest,))
