"""A disk that takes nothing, as the operating system makes it: nobody is stopped, the budget holds
with what was spent before, and nothing is lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.contract.accounting.test_kills import CENT, facts, run

LIMIT = 5 * CENT


@pytest.fixture
def path() -> Iterator[Path]:
    """In a folder that others may pass through, which pytest's own are not."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Path(folder) / "state"
        made.mkdir()
        yield made / "nexus.db"


@pytest.mark.parametrize(
    ("disk", "reason"), [("full", "disk I/O error"), ("readonly", "Permission denied")]
)
def test_a_disk_that_takes_nothing_gives_away_no_budget_and_loses_nothing(
    path: Path, disk: str, reason: str
) -> None:
    told = facts(run(disk, path))
    spent = sum(nanousd for what, _, nanousd in told if what == "settled")
    assert spent
    before, after = (int(known) for what, known, _ in told if what == "standing")
    assert before == spent  # read, though the file cannot be written
    (problem, degraded), mended = (rest for what, *rest in told if what == "problem")
    assert degraded == 1
    assert reason in str(problem)
    assert mended == [None, 0]
    assert after == spent

    reserved = {id_: nanousd for what, id_, nanousd in told if what == "reserved"}
    settled = {id_ for what, id_, _ in told if what == "settled"}
    held = (len(reserved) - len(settled)) * CENT
    assert LIMIT - CENT < spent + held <= LIMIT
    with closing(sqlite3.connect(path)) as connection:
        rows = {
            id_: (state, nanousd)
            for id_, state, nanousd in connection.execute("SELECT id, state, nanousd FROM entries")
        }
        assert connection.execute("SELECT spent, reserved FROM totals").fetchall() == [
            (spent + held, 0)
        ]
    assert rows.keys() == reserved.keys()
    for id_ in reserved.keys() - settled:
        assert rows[id_] == ("interrupted", CENT)
