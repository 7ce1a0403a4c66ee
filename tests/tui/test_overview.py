"""The first screen: what it says of a moment, how it fills any size, and where it leads."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from nexus_proxy.state import BackendState, Snapshot, Trend
from nexus_tui.overview.drawing import bars, grouped, length, meter
from nexus_tui.overview.layout import overview
from tests.support.nasty_names import NASTY
from tests.support.sample_snapshot import backend, empty_snapshot, request, snapshot
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource

SIZES = [(60, 13), (80, 20), (110, 27), (140, 40), (180, 30), (250, 13), (250, 66)]


def drawn(shown: Snapshot, size: tuple[int, int] = (120, 40)) -> str:
    lines = overview(shown, *size).lines
    return "\n".join("".join(cell.text for cell in line) for line in lines)


@pytest.mark.parametrize("size", SIZES)
def test_it_fills_every_size_exactly(size: tuple[int, int]) -> None:
    many = tuple(backend(f"box-{number}") for number in range(200))
    named = tuple(request(f"r{n}", model=name, backend=name) for n, name in enumerate(NASTY))
    for shown in (snapshot(), snapshot(backends=many, requests=named), snapshot(requests=())):
        lines = overview(shown, *size).lines
        assert len(lines) == size[1]
        assert {length(line) for line in lines if line} == {size[0]}


@given(st.integers(1, 300), st.integers(1, 90))
def test_no_size_on_the_way_to_another_is_too_much_for_it(width: int, height: int) -> None:
    assert len(overview(snapshot(), width, height).lines) <= height


@pytest.mark.parametrize("size", [(80, 20), (120, 30), (200, 45)])
def test_the_five_questions_are_answered_at_a_glance(size: tuple[int, int]) -> None:
    text = drawn(snapshot(), size)
    for answer in ("http://127.0.0.1:8000", "● up", "» streaming", "$15.51", "▲ llamacpp-attic is"):
        assert answer in text


def test_what_is_down_comes_first_and_what_is_busiest_shows() -> None:
    views = (
        backend("calm", in_flight=0, slots=4),
        backend("full", in_flight=4, slots=4),
        backend("gone", state=BackendState.DOWN, reason="connection refused"),
    )
    rows = [line for line in drawn(snapshot(backends=views)).splitlines() if "/4" in line]
    assert ["gone" in rows[0], "calm" in rows[1], "full" in rows[2]] == [True, True, True]
    assert "━━━━━━━━" in rows[2]
    assert "╌╌╌╌╌╌╌╌" in rows[1]


def test_what_is_not_shown_is_counted_and_a_key_leads_to_it() -> None:
    many = tuple(backend(f"box-{number:03}") for number in range(200))
    text = drawn(snapshot(backends=many, requests=()), (80, 20))
    shown = text.count("box-")
    assert f"… {200 - shown} more: 2 shows all" in text


def test_nothing_wrong_takes_no_room_and_no_request_yet_says_how_to_make_one() -> None:
    text = drawn(snapshot(problems=(), queue=(), trend=Trend(), requests=(), budget=None))
    assert "What is wrong" not in text
    assert "No requests yet" in text
    assert "curl http://127.0.0.1:8000" in text
    assert "Spend" not in text


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=80), st.integers(0, 60), st.integers(1, 8))
def test_bars_are_as_large_as_asked_and_hide_nothing(
    values: list[float | None], width: int, height: int
) -> None:
    rows = bars(values, width, height)
    assert [cell_len(row) for row in rows] == [width] * height
    newest = values[-width:] if width else []
    bottom = rows[-1][len(rows[-1]) - len(newest) :]
    for value, character in zip(newest, bottom, strict=True):
        assert (character == " ") == (not value)


def test_groups_keep_their_members_while_the_series_moves_on() -> None:
    series = list(range(30))
    for moved in range(10):
        seen = series[moved : moved + 20]
        assert set(grouped(seen, 4, moved + 19, sum)[1:-1]) <= {
            sum(series[start : start + 4]) for start in range(0, 30, 4)
        }


def test_only_what_is_full_looks_full_and_only_nothing_looks_empty() -> None:
    assert [meter(share, 4) for share in (0, 0.001, 0.5, 0.999, 1, 7)] == [
        "╌╌╌╌",
        "━╌╌╌",
        "━━╌╌",
        "━━━╌",
        "━━━━",
        "━━━━",
    ]


async def test_it_is_the_first_screen_and_its_parts_lead_to_the_tabs_by_a_click() -> None:
    async with looking(size=(120, 36), tab="overview") as look:
        await look.sees("4 Requests", "» streaming", "Traffic, last")
        assert "▲ llamacpp-attic is down" in look.text
        row = next(n for n, line in enumerate(look.text.splitlines()) if "2 Backends ─" in line)
        await look.pilot.click(offset=(5, row + 1))
        await look.until(lambda: look.dashboard.pane is look.dashboard.panes["backends"])
        await look.press("1")
        await look.until(lambda: look.dashboard.pane is look.dashboard.panes["overview"])


async def test_a_click_on_the_address_copies_it() -> None:
    async with looking(tab="overview") as look:
        row = next(n for n, line in enumerate(look.text.splitlines()) if "copies it" in line)
        await look.pilot.click(offset=(5, row))
        await look.told("Copied http://127.0.0.1:8000")


async def test_the_first_run_says_where_it_looked_and_what_to_type() -> None:
    source = ScriptedSource(empty_snapshot())
    async with looking(source, size=(80, 24), tab="overview") as look:
        await look.sees(
            "No backends yet",
            "this machine     11434 (Ollama)",
            "nexus backends add http://HOST:PORT",
            "nexus --demo",
            "nexus doctor",
        )
        await look.change(msgspec.structs.replace(snapshot(), taken_at=source.shown.taken_at))
        await look.sees("2 Backends", "● up")


async def test_no_cloud_is_looked_for_where_discovery_is_off() -> None:
    source = ScriptedSource(empty_snapshot(searching=()))
    async with looking(source, tab="overview") as look:
        await look.sees("told not to look", "discovery.enabled")
