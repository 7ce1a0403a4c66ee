"""Rows of a month, of a real SQLite file, as a screen and a report want them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from nexus_proxy.accounting import entries
from nexus_proxy.accounting.entries import Entry, Settlement
from nexus_proxy.accounting.report import MOST_ROWS, spend, summary
from nexus_proxy.accounting.usage import TokenUsage
from nexus_proxy.state import SpendReport, SpendRow
from nexus_proxy.store.schema import MIGRATIONS, NANO

MONTH = "2026-11"
USAGE = TokenUsage(prompt=100, completion=10)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "nexus.db")
    for script in MIGRATIONS:
        connection.executescript(script)
    yield connection
    connection.close()


def put(
    file: sqlite3.Connection,
    day: str,
    usd: float | None,
    *,
    provenance: str = "measured",
    state: str = "settled",
    backend: str = "cloud",
    model: str = "gpt",
    key: str = "",
) -> None:
    (number,) = file.execute("SELECT COUNT(*) FROM entries").fetchone()
    nanousd = None if usd is None else round(usd * NANO)
    entry = Entry(
        id=str(number),
        request_id="r",
        owner="o",
        at=0.0,
        day=day,
        month=day[:7],
        backend=backend,
        model=model,
        model_asked=model,
        key=key,
        nanousd=nanousd,
    )
    entries.reserve(file, entry)
    if state != "reserved":
        settled = Settlement(nanousd=nanousd, provenance=provenance, usage=USAGE, state=state)
        entries.settle(file, entry, settled)


def by_label(report: SpendReport) -> dict[str, SpendRow]:
    return {row.label: row for row in report.rows}


def test_all_days_so_far_are_there_and_other_months_are_not(file: sqlite3.Connection) -> None:
    put(file, "2026-10-31", 5.0)
    put(file, "2026-11-02", 1.0)
    put(file, "2026-12-01", 7.0)
    report = spend(file, MONTH, "day", "2026-11-04")
    assert [row.label[-2:] for row in report.rows] == ["01", "02", "03", "04"]
    assert [row.usd_measured for row in report.rows] == [0, 1.0, 0, 0]
    assert report.spent_usd == 1.0
    assert len(spend(file, "2026-10", "day", "2026-11-04").rows) == 31
    assert spend(file, "2026-12", "backend", "2026-11-04").spent_usd == 7.0


def test_an_unknown_price_is_in_no_sum_and_never_zero(file: sqlite3.Connection) -> None:
    put(file, "2026-11-02", None, provenance="unknown")
    put(file, "2026-11-02", None, state="reserved")
    report = spend(file, MONTH, "model", "2026-11-02")
    assert (report.unknown_requests, report.spent_usd) == (1, 0)
    (row,) = report.rows
    assert (row.requests, row.unknown_requests, row.usd_measured) == (2, 2, 0)


def test_local_traffic_is_rows_with_tokens_and_joins_paid_of_the_same_name(
    file: sqlite3.Connection,
) -> None:
    entries.add_usage(file, [("2026-11-02", "ollama", "qwen", "", 3, 900, 60)])
    entries.add_usage(file, [("2026-11-02", "ollama", "gpt", "ci", 1, 50, 5)])
    put(file, "2026-11-02", 1.0, key="ci")
    backends = by_label(spend(file, MONTH, "backend", "2026-11-02"))
    assert (backends["ollama"].requests, backends["ollama"].free_requests) == (4, 4)
    assert (backends["ollama"].prompt_tokens, backends["ollama"].completion_tokens) == (950, 65)
    gpt = by_label(spend(file, MONTH, "model", "2026-11-02"))["gpt"]
    assert (gpt.requests, gpt.free_requests, gpt.usd_measured) == (2, 1, 1.0)
    assert set(by_label(spend(file, MONTH, "key", "2026-11-02"))) == {"", "ci"}


def test_a_summary_is_bounded_and_loses_nothing(file: sqlite3.Connection) -> None:
    for number in range(MOST_ROWS + 20):
        put(file, "2026-11-02", 1.0 + number, model=f"m{number}")
    found = summary(file, MONTH, "2026-11-02")
    assert len(found.models) == MOST_ROWS
    assert found.models[-1].label == "(21 more)"
    (cloud,) = found.backends
    assert sum(row.usd_measured for row in found.models) == cloud.usd_measured
    assert sum(row.requests for row in found.models) == MOST_ROWS + 20
    assert len(spend(file, MONTH, "model", "2026-11-02").rows) == MOST_ROWS + 20
