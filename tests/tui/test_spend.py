"""The spend tab: the month against its limits, its days, and who spent it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.state import BudgetLevel, SpendRow, SpendSummary
from nexus_tui.widgets.spend_chart import day_chart
from tests.support.sample_policies import BUDGET, spend, spend_row
from tests.support.sample_snapshot import empty_snapshot, snapshot
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource

SIZES = [(80, 24), (120, 35), (250, 70)]


def shown(**changes: Any) -> ScriptedSource:
    return ScriptedSource(snapshot(**changes))


def budget(**changes: Any) -> Any:
    return msgspec.structs.replace(BUDGET, **changes)


def row_of(look: Looking, name: str) -> str:
    """The line of a table that begins with a name."""
    return next(line for line in look.text.splitlines() if line.lstrip(" ▌").startswith(name))


@pytest.mark.parametrize("size", SIZES)
async def test_the_month_at_a_glance(size: tuple[int, int]) -> None:
    async with looking(shown(), size=size) as look:
        await look.press("6")
        for fact in (
            "June 2025  $15.20 + $0.3100 put aside + 2? of $20.00  ▲ past the soft limit",
            "┃",
            "78%",
            "Now ┃ local is preferred. At $20.00 what costs money is refused (402).",
            "◇ about $26.40 by June 30 (estimated)  ✕ over the limit",
            "█ $11.90 measured  ▒ ~$3.30 estimated  ? 2 unknown, in no sum  · 10 local",
            "~$15.20",
            "$3.10",
        ):
            assert fact in look.text


async def test_what_is_unknown_is_no_zero_and_what_is_local_costs_nothing() -> None:
    async with looking(shown(), size=(80, 24)) as look:
        await look.press("6")
        assert row_of(look, "groq").split()[2:4] == ["–", "2?"]
        assert "local" in row_of(look, "ollama")
        assert "$0" not in row_of(look, "groq") + row_of(look, "ollama")


async def test_where_it_is_narrow_the_arrows_change_what_spend_is_told_by() -> None:
    async with looking(shown(), size=(80, 24)) as look:
        await look.press("6")
        assert "openai" in look.text
        assert "gpt-5-mini" not in look.text
        await look.press("right")
        assert "‹Model›" in look.text
        assert "gpt-5-mini" in look.text
        assert "▌openai" not in look.text
        await look.press("right")
        assert "(no key)" in look.text
        await look.press("right", "left", "left")
        assert "‹Model›" in look.text


@pytest.mark.parametrize("size", SIZES[1:])
async def test_where_it_is_wide_all_tables_are_there(size: tuple[int, int]) -> None:
    async with looking(shown(), size=size) as look:
        await look.press("6")
        assert {"▌openai", "gpt-5-mini", "laptop"} <= set(row_of(look, "openai").split())


async def test_verbs_act_on_backends_and_on_nothing_else_here() -> None:
    async with looking(shown()) as look:
        await look.press("6", "d")
        await look.until(lambda: bool(look.source.ran))
        assert look.source.ran == [("backend.drain", {"backend": "openai"})]
        await look.press("right", "d")
        assert len(look.source.ran) == 1
        assert look.dashboard.selection() is None


async def test_a_row_is_told_in_full_and_goes_on() -> None:
    async with looking(shown()) as look:
        await look.press("6", "right", "enter")
        for fact in ("Model gpt-5-mini", "$11.90", "~$3.30", "$0.3100", "100%", "on average"):
            assert fact in look.text
        dearer = spend(models=(spend_row("gpt-5-mini", 1_200.0),))
        look.source.change(snapshot(spend=dearer))
        await look.sees("$1,200.00")


async def test_the_filter_and_the_order_are_those_of_every_table() -> None:
    async with looking(shown()) as look:
        await look.press("6", "right", "slash")
        await look.type("qwen")
        await look.press("enter")
        assert "1 of 4" in look.text
        assert "gpt-5-mini" not in look.text


async def test_figures_that_change_are_drawn() -> None:
    async with looking(shown()) as look:
        await look.press("6")
        later = budget(spent_usd=20.0, reserved_usd=0.0, level=BudgetLevel.HARD)
        await look.change(snapshot(budget=later))
        assert "✕ at the limit" in look.text
        assert "Now what costs money is refused (402), until the month ends" in look.text


@pytest.mark.parametrize(
    ("action", "then"),
    [
        ("warn", "you are told, nothing is refused"),
        ("block_cloud", "what costs money is refused (402)"),
        ("block_all", "every request is refused (402)"),
    ],
)
async def test_what_the_limit_will_do_is_said_before(action: str, then: str) -> None:
    calm = budget(action=action, level=BudgetLevel.OK, spent_usd=1.0, reserved_usd=0.0)
    async with looking(shown(budget=calm), size=(80, 24)) as look:
        await look.press("6")
        assert f"At $15.00 ┊ local is preferred. At $20.00 {then}." in look.text
        assert "● within the limit" in look.text


async def test_without_a_limit_it_says_how_to_set_one() -> None:
    """And without days, why nothing is forecast."""
    free = budget(limit_usd=None, level=BudgetLevel.OK)
    async with looking(shown(budget=free, spend=spend(forecast_usd=None)), size=(80, 24)) as look:
        await look.press("6")
        assert "$15.20 spent" in look.text
        assert "monthly_limit_usd = 20 under [routing.budget]" in look.text
        assert "no forecast yet: it takes three whole days" in look.text


async def test_what_other_replicas_spent_is_told_apart() -> None:
    async with looking(shown(budget=budget(spent_usd=17.2), replicas=2), size=(120, 35)) as look:
        await look.press("6")
        assert "$17.20 + $0.3100 put aside" in look.text
        assert "▒ ~$3.30 estimated  + $2.00 by other replicas  ?" in look.text
        await look.change(snapshot(replicas=2))
        assert "by other replicas" not in look.text


async def test_where_nothing_costs_anything_it_says_what_would() -> None:
    local = spend_row("ollama", free_requests=10)
    days = (*spend().days[:12], spend_row("2025-06-13", free_requests=10))
    cheap = spend(
        days=tuple(msgspec.structs.replace(day, requests=0) for day in days[:12]) + days[12:],
        backends=(local,),
        forecast_usd=None,
    )
    free = budget(limit_usd=None, spent_usd=0.0, reserved_usd=0.0, unknown_requests=0)
    async with looking(shown(budget=free, spend=cheap), size=(80, 24)) as look:
        await look.press("6")
        assert "June 2025: nothing has cost anything." in look.text
        assert "10 requests ran on your own machines" in look.text
        for line in ("[[prices]]", "monthly_limit_usd = 20", "go into nexus.toml:"):
            assert line in look.text
        assert "local" in row_of(look, "ollama")


async def test_before_the_ledger_was_read_it_says_so_and_a_small_screen_keeps_the_tables() -> None:
    async with looking(ScriptedSource(empty_snapshot()), size=(60, 16)) as look:
        await look.press("6")
        assert "Reading what was spent" in look.text
        await look.change(snapshot())
        assert "▌openai" in look.text
        assert "▲─" not in look.text  # no room for the chart


@pytest.mark.parametrize("theme", ["nexus-light", "nexus-colour-blind"])
async def test_all_is_shape_and_word_whatever_the_colours(
    theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with looking(shown()) as look:
        await look.press("6")
        dark = look.text
        look.app.theme = theme
        await look.pilot.pause()
        assert look.text == dark
    monkeypatch.setenv("NO_COLOR", "1")
    async with looking(shown()) as look:
        await look.press("6")
        assert look.text == dark


# -- the chart, by itself ------------------------------------------------------------------------


def chart(spend: SpendSummary, width: int = 80, height: int = 8) -> list[str]:
    return ["".join(cell.text for cell in line) for line in day_chart(spend, width, height)]


figures = st.floats(min_value=0, max_value=1e6).map(lambda usd: 0.0 if usd < 1e-9 else usd)
days = st.builds(
    lambda measured, estimated, unknown: spend_row(
        "", measured, usd_estimated=estimated, unknown_requests=unknown
    ),
    figures,
    figures,
    st.integers(0, 2),
)


@given(rows=st.lists(days, max_size=30), width=st.integers(1, 300), height=st.integers(0, 30))
def test_bars_fit_and_hide_nothing(rows: list[SpendRow], width: int, height: int) -> None:
    drawn = chart(spend(days=tuple(rows)), width, height)
    assert len(drawn) in {0, height}
    assert all(len(line) <= width for line in drawn)
    if not drawn:
        return
    bars = "".join(line.partition(" ")[2] for line in drawn[:-2])
    assert ("▒" in bars) == any(_shows_estimate(row, height - 2) for row in rows)
    assert ("?" in bars) == any(row.unknown_requests for row in rows)
    measured = any(row.usd_measured and not row.usd_estimated for row in rows)
    if measured and height > 3:
        assert set(bars) & set("▁▂▃▄▅▆▇█")


def _shows_estimate(row: SpendRow, rows: int) -> bool:
    """Where there is one row, the mark of what is unknown stands in the estimate's place."""
    return row.usd_estimated > 0 and not (row.unknown_requests and rows == 1)


def test_what_is_unknown_stands_on_an_estimate_and_not_in_its_place() -> None:
    dearest = spend_row("2025-06-01", 1.0, usd_estimated=0.2, unknown_requests=1)
    drawn = chart(spend(days=(dearest,)), height=6)
    column = drawn[-2].index("─")
    assert [line[column] for line in drawn[:-2]] == ["?", "▒", "█", "█"]


def test_today_is_marked_and_days_to_come_are_blank() -> None:
    drawn = chart(spend())
    today = drawn[-2].index("▲")
    assert drawn[-1][today : today + 2] == "15"
    assert all(not line[today + 1 :].strip() for line in drawn[:-2])


def test_a_month_that_was_is_drawn_without_a_today() -> None:
    assert "▲" not in "".join(chart(spend(today="2025-07-01")))


def test_the_dearest_day_reaches_the_top_which_says_how_much_that_is() -> None:
    drawn = chart(spend())
    assert drawn[0].startswith("$3.10 ")
    assert "█" in drawn[0]
    assert drawn[-2].startswith("   $0 ")
