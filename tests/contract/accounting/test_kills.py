"""Not a cent is lost, whatever is killed when; and nobody gets the last dollar twice."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.config.model import BudgetConfig
from nexus_proxy.events import Bus
from nexus_proxy.store.sqlite import Store

KILLS = 250
CENT = 10**7


def run(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.support.ledger_victims", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def facts(process: subprocess.Popen[str]) -> list[tuple[str, str, int]]:
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 0
    return [tuple(json.loads(line)) for line in said.splitlines()]


def sums(connection: sqlite3.Connection, state: str) -> int:
    query = "SELECT COALESCE(SUM(nanousd), 0) FROM entries WHERE state = ?"
    (total,) = connection.execute(query, (state,)).fetchone()
    return int(total)


async def test_what_was_acknowledged_survives_hundreds_of_kills(tmp_path: Path) -> None:
    path = tmp_path / "nexus.db"
    told = facts(run("kill", path, KILLS))
    reserved = {id_: nanousd for what, id_, nanousd in told if what == "reserved"}
    settled = {id_: nanousd for what, id_, nanousd in told if what == "settled"}
    assert len(reserved) > KILLS
    with closing(sqlite3.connect(path)) as connection:
        rows = {
            id_: (state, nanousd)
            for id_, state, nanousd in connection.execute("SELECT id, state, nanousd FROM entries")
        }
    assert reserved.keys() <= rows.keys()
    for id_, nanousd in settled.items():
        assert rows[id_] == ("settled", nanousd)
    for id_ in reserved.keys() - settled.keys():
        state, nanousd = rows[id_]
        assert state == "settled" or nanousd == reserved[id_]

    store = Store(path)
    await store.open()
    ledger = Ledger(store, Bus(), BudgetConfig())
    await ledger.start()
    standing = ledger.standing
    ledger.stop()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        booked = sums(connection, "settled") + sums(connection, "interrupted")
        assert sums(connection, "reserved") == 0
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert round(standing.spent_usd * 10**9) == booked
    assert standing.reserved_usd == 0


def test_two_processes_cannot_both_have_the_last_dollar(tmp_path: Path) -> None:
    path = tmp_path / "nexus.db"
    racers = [run("race", path, 1.0, 200) for _ in range(2)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [fact for racer in racers for fact in facts(racer)]
    assert len(won) == 100
    with closing(sqlite3.connect(path)) as connection:
        assert sums(connection, "reserved") + sums(connection, "interrupted") == 100 * CENT
