"""The last row: which keys it names in how much room, which it greys out, and what a click does."""

from __future__ import annotations

import pytest

from nexus_tui.widgets.key_line import KeyLine
from tests.support.sample_snapshot import backend, empty_snapshot, snapshot
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource


def last_row(look: Looking) -> str:
    return look.text.splitlines()[-1]


def greyed(look: Looking) -> set[str]:
    """Labels of keys that would change nothing now."""
    return {key.label for key in look.app.screen.query_one(KeyLine)._shown if not key.can}


async def test_what_is_impossible_now_is_grey_and_what_is_undone_has_its_name() -> None:
    views = (backend("one"), backend("two", drained=True, accepted=False, models=()))
    async with looking(ScriptedSource(snapshot(backends=views)), size=(200, 30)) as look:
        assert {"Accept"} <= greyed(look)
        assert "d Drain" in last_row(look)
        await look.press("j")
        await look.until(lambda: "d Resume" in last_row(look))
        assert {"Pin", "Load"} <= greyed(look)
        assert "Accept" not in greyed(look)
        await look.change(snapshot(backends=(backend("one"), backend("two"))))
        await look.until(lambda: "d Drain" in last_row(look))


async def test_without_a_backend_nothing_can_be_done_to_one() -> None:
    async with looking(ScriptedSource(empty_snapshot()), size=(200, 30)) as look:
        assert {"Remove", "Drain", "Zone"} <= greyed(look)
        assert "Add" not in greyed(look)


@pytest.mark.parametrize("width", [60, 80, 120])
async def test_what_does_not_fit_is_left_out_whole_and_the_palette_has_it(width: int) -> None:
    async with looking(size=(width, 24)) as look:
        row = last_row(look)
        assert row.endswith("^p More")
        assert "y Accept" not in row  # it would change nothing: others go first
        assert ("d Drain" in row) is (width >= 80)


async def test_a_click_is_as_good_as_the_key() -> None:
    async with looking(size=(80, 24)) as look:
        assert await look.pilot.click(KeyLine, offset=(last_row(look).index("Drain") + 1, 0))
        await look.told("ran backend.drain")
        await look.pilot.click(KeyLine, offset=(last_row(look).index("^p"), 0))
        await look.sees("Search for commands")
