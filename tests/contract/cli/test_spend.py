"""`nexus spend`: what people and programs read of a month's money."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_proxy.accounting.entries import Settlement
from nexus_proxy.accounting.usage import TokenUsage
from tests.contract.cli.terminal import Scene, scene

CENT = 10**7


async def spend(
    here: Scene, nanousd: int | None, *, model: str = "m", key: str = "", provenance: str
) -> None:
    """One request that is over."""
    ledger = here.gateway.runtime.ledger
    entry = await ledger.reserve(
        request_id="r", backend="cloud", model=model, model_asked=model, nanousd=CENT, key=key
    )
    usage = TokenUsage(prompt=1200, completion=34)
    ledger.settle(
        entry, Settlement(nanousd=nanousd, provenance=provenance, usage=usage, state="settled")
    )


def columns(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


async def test_a_month_in_rows_and_what_they_come_to(tmp_path: Path) -> None:
    budget = {"monthly_limit_usd": 2.5, "soft_limit_percent": 80.0}
    async with scene(tmp_path, ["m"], routing={"budget": budget}) as here:
        await spend(here, 25 * CENT, provenance="measured")
        await spend(here, 125 * CENT, model="big", key="ci", provenance="estimated")
        await spend(here, None, model="odd", provenance="unknown")
        by_model = await here.nexus("spend", "--by", "model")
        by_key = await here.nexus("spend", "--by", "key", "--json")
        by_day = await here.nexus("spend")
    header, *rows = columns(by_model.out)
    assert header == ["MODEL", "REQUESTS", "TOKENS", "IN", "TOKENS", "OUT", "USD"]
    assert rows[:3] == [
        ["big", "1", "1,200", "34", "~$1.25", "█" * 24],
        ["m", "1", "1,200", "34", "$0.2500", "████▊"],
        ["odd", "1", "1,200", "34", "1?"],  # never $0
    ]
    assert "$1.50 spent of $2.50  ██████████████░░░░░┊░░░░, 1 request of" in by_model.out
    assert "~ estimated in part" in by_model.err
    assert "[[prices]]" in by_model.err
    told = by_key.json()
    assert (told["limit_usd"], told["soft_percent"]) == (2.5, 80.0)
    (ci, nobody) = told["rows"]
    assert (ci["label"], ci["usd_estimated"], ci["usd_measured"]) == ("ci", 1.25, 0.0)
    assert (nobody["label"], nobody["usd_measured"]) == ("", 0.25)
    assert "~$1.50 + 1?" in by_day.out.splitlines()[1]
    assert columns(by_day.out)[2][1:3] == ["$1.50", "spent"]  # days without a request are left out


async def test_what_runs_here_is_told_as_local_and_without_a_dollar(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        assert (await here.gateway.chat()).status_code == 200
        here.gateway.runtime.history.settle()
        done = await here.nexus("spend", "--by", "backend")
    assert columns(done.out)[1][1:] == ["1", "7", "4", "local"]
    assert "monthly_limit_usd under [routing.budget]" in done.err


async def test_a_month_without_spend_says_what_would_make_some(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        empty = await here.nexus("spend", "--month", "2026-01")
    assert (empty.code, empty.out) == (0, "2026-01: $0 spent\n")
    assert "Nothing ran in 2026-01. Requests to clouds cost money" in empty.err


@pytest.mark.parametrize("month", ["2026-13", "now", "2026-1", "2026-01&by=key", "²026-01"])
async def test_what_is_no_month_is_refused_in_a_sentence(tmp_path: Path, month: str) -> None:
    async with scene(tmp_path, ["m"]) as here:
        wrong = await here.nexus("spend", "--month", month)
    assert (wrong.code, wrong.out) == (1, "")
    assert "is no month; write it like 2026-11" in wrong.err


async def test_rows_cannot_be_by_anything_else(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        assert (await here.nexus("spend", "--by", "colour")).code == 2


async def test_without_a_gateway_the_exit_code_says_so(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.shell.also(NEXUS_PORT="1").nexus("spend")
    assert done.code == 3
