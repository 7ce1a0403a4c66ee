"""`nexus spend`: what people and programs read of money."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from nexus_proxy.accounting.entries import Settlement
from nexus_proxy.accounting.usage import TokenUsage
from tests.contract.cli.terminal import Scene, scene

NANO = 10**9


async def spent(here: Scene, usd: float | None, provenance: str = "measured") -> None:
    """One request that came to this, as the relay books it."""
    ledger = here.gateway.runtime.ledger
    nanousd = None if usd is None else round(usd * NANO)
    entry = await ledger.reserve(
        request_id="r", backend="cloud", model="gpt", model_asked="gpt", nanousd=nanousd, key="ci"
    )
    usage = TokenUsage(prompt=1200, completion=30)
    ledger.settle(
        entry, Settlement(nanousd=nanousd, provenance=provenance, usage=usage, state="settled")
    )


@asynccontextmanager
async def limited(tmp_path: Path, **budget: Any) -> AsyncIterator[Scene]:
    async with scene(tmp_path, ["m"], routing={"budget": budget}) as here:
        yield here


@pytest.mark.parametrize(("by", "label"), [("backend", "cloud"), ("model", "gpt"), ("key", "ci")])
async def test_what_was_spent_by(tmp_path: Path, by: str, label: str) -> None:
    async with limited(tmp_path, monthly_limit_usd=10.0) as here:
        await spent(here, 6.5)
        await spent(here, 0.0042, "estimated")
        await spent(here, None, "unknown")
        done = await here.nexus("spend", "--by", by)
    assert done.code == 0
    header, row, summary = done.out.splitlines()
    assert header.split() == [by.upper(), "REQUESTS", "TOKENS", "IN", "TOKENS", "OUT", "USD"]
    assert row.split()[:7] == [label, "3", "3,600", "90", "~$6.50", "+", "1?"]
    assert row.endswith("█" * 24)
    assert "$6.50 spent of $10.00  ███████████████░░░┊░░░░░, 1 of unknown price" in summary
    assert "~ estimated in part" in done.err
    assert "[[prices]]" in done.err


async def test_days_without_requests_are_there_and_local_ones_are_no_dollar(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        assert (await here.gateway.chat()).status_code == 200
        here.gateway.runtime.history.settle()
        done = await here.nexus("spend")
        today = here.gateway.runtime.ledger.edition[1]
    rows = [line.split() for line in done.out.splitlines()[1:-1]]
    assert [row[0][-2:] for row in rows] == [f"{n:02}" for n in range(1, int(today[-2:]) + 1)]
    assert rows[-1][0] == today
    assert rows[-1][4] == "local"
    assert all(row[4] == "–" for row in rows[:-1])
    assert "$0 spent" in done.out
    assert "routing.budget" in done.err


async def test_without_any_spend_it_says_what_would_make_some(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.nexus("spend")
    assert done.code == 0
    assert len(done.out.splitlines()) == 1
    assert "Requests to clouds cost money" in done.err
    assert "monthly_limit_usd under [routing.budget]" in done.err


async def test_json_is_the_report(tmp_path: Path) -> None:
    async with limited(tmp_path, monthly_limit_usd=10.0, soft_limit_percent=60.0) as here:
        await spent(here, 0.5)
        done = await here.nexus("spend", "--by", "key", "--json")
    found = done.json()
    assert (found["spent_usd"], found["limit_usd"], found["soft_percent"]) == (0.5, 10.0, 60.0)
    assert found["rows"][0]["label"] == "ci"


@pytest.mark.parametrize("month", ["2026-13", "now", "2026-1", "2026-01&by=key", "²026-01"])
async def test_what_is_no_month_is_refused_in_a_sentence(tmp_path: Path, month: str) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.nexus("spend", "--month", month)
    assert (done.code, done.out) == (1, "")
    assert "is no month; write it like 2026-11" in done.err


async def test_another_month_and_what_rows_cannot_be(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        await spent(here, 0.5)
        past = await here.nexus("spend", "--month", "2020-02")
        wrong = await here.nexus("spend", "--by", "colour")
    assert past.out == "2020-02: $0 spent\n"
    assert wrong.code == 2
