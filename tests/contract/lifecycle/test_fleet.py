"""Requests are counted by hour, kept, and advised about, over HTTP and by the command."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from nexus_proxy.fleet.profile import HOUR
from nexus_proxy.fleet.service import DAY, SAVE
from tests.contract.cli.terminal import scene_of
from tests.contract.hot.asking import CHAT, body_for, post
from tests.support import shelves
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend
from tests.support.shelves import Shelf

ROUTE = "/v1/fleet/recommendations"
ZONE = {"budget": {"time_zone": "UTC"}}


def at_nine(path: Path, *, days: int = 14) -> None:
    """A history of twenty requests at nine each day, as the gateway itself would have kept it."""
    midnight = int(time.time()) // DAY * DAY
    rows = [(midnight - DAY * n + 9 * HOUR, "one", "a", 20) for n in range(1, days + 1)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(SAVE, rows)


def counted(path: Path) -> list[Any]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT backend, model, requests FROM request_hours").fetchall()


async def test_requests_are_one_row_an_hour_and_add_up_over_restarts(tmp_path: Path) -> None:
    file = tmp_path / "nexus.db"
    async with ScriptedBackend(["m"]) as backend:
        entries = [backend_entry("one", backend.url)]
        for _ in range(2):
            async with running_gateway(entries, state={"path": str(file)}) as gateway:
                for _ in range(3):
                    assert (await post(gateway, body_for(CHAT))).status_code == 200
                await post(gateway, {**body_for(CHAT), "model": "nobody-has-it"})
    rows = counted(file)
    assert sum(row[2] for row in rows) == 6
    assert {row[:2] for row in rows} == {("one", "m")}
    assert len(rows) <= 2, "unless the hour ends in between, it is one"


async def test_advice_comes_from_what_was_kept(tmp_path: Path) -> None:
    state = {"path": str(tmp_path / "nexus.db")}
    async with shelves.ollama(Shelf("a")) as box:
        entries = [backend_entry("one", box.url, type="ollama")]
        async with running_gateway(entries, state=state) as gateway:
            told = (await gateway.client.get(ROUTE)).json()
            assert (told["fleet_enabled"], told["recommendations"]) == (False, [])
            assert "fleet.enabled" in told["note"]
        at_nine(tmp_path / "nexus.db")
        fleet = {"enabled": True}
        async with running_gateway(entries, state=state, fleet=fleet, routing=ZONE) as gateway:
            told = (await gateway.client.get(ROUTE)).json()
            (found,) = told["recommendations"]
            assert (found["model_id"], found["target_backend_ids"]) == ("a", ["one"])
            assert (found["load_at"], found["days"]) == ("08:55", "every day")
            again = (await gateway.client.get(ROUTE)).json()
            assert again["generated_at"] == told["generated_at"]
            strange = await gateway.client.get(ROUTE, headers={"x-forwarded-for": "10.0.0.9"})
            assert strange.status_code == 401
    assert box.generations == [], "it only advises"


async def test_the_command_tells_it(tmp_path: Path) -> None:
    tables: dict[str, Any] = {"state": {"path": str(tmp_path / "nexus.db")}, "routing": ZONE}
    fleet = {"enabled": True, "analysis_interval_seconds": 0.001}
    box = shelves.ollama(Shelf("a"))
    async with scene_of(tmp_path, [box], kind="ollama", fleet=fleet, **tables) as here:
        nothing = await here.nexus("fleet")
        assert "No advice: 0 whole days of requests are known" in nothing.err
        at_nine(tmp_path / "nexus.db")
        table, data = await here.nexus("fleet"), await here.nexus("fleet", "--json")
    assert table.out.splitlines()[1].split()[:3] == ["a", "one", "08:55"]
    assert data.json()["recommendations"][0]["model_id"] == "a"
