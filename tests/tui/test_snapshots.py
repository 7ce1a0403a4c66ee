"""What each screen looks like. Behaviour is asserted elsewhere; these are the pictures.

`pytest tests/tui/test_snapshots.py --snapshot-update` takes them anew: look at them before they
are committed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from textual.pilot import Pilot

from nexus_proxy.cli.talk import Answer, Piece
from nexus_proxy.state import Snapshot
from nexus_tui.app import NexusApp
from nexus_tui.screens.dashboard import PANES, Dashboard
from tests.support.sample_snapshot import empty_snapshot, snapshot
from tests.tui.scripted import ScriptedSource

SMALL, LARGE = (80, 24), (120, 36)

Compare = Callable[..., bool]


def matches(
    compare: Compare,
    *keys: str,
    size: tuple[int, int] = LARGE,
    theme: str = "nexus-dark",
    shown: Callable[[], Snapshot] = snapshot,
    says: Sequence[Piece] = (),
) -> bool:
    """Run the app over a fixed snapshot, press the keys, and compare the picture."""
    source = ScriptedSource(shown())
    source.says = list(says)
    app = NexusApp(source, theme=theme)

    async def settle(pilot: Pilot[Any]) -> None:
        dashboard = app.screen_stack[0]
        assert isinstance(dashboard, Dashboard)
        while dashboard.snapshot is None:
            await pilot.pause(0.01)
        await pilot.press(*keys)
        await pilot.pause(0.2)  # the detail pane follows the cursor with a delay

    return compare(app, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("tab", PANES)
@pytest.mark.parametrize(
    ("size", "theme"),
    [(SMALL, "nexus-light"), (LARGE, "nexus-dark")],
    ids=["small-light", "large-dark"],
)
def test_tab(snap_compare: Compare, tab: str, size: tuple[int, int], theme: str) -> None:
    assert matches(snap_compare, PANES[tab].key, size=size, theme=theme)


def test_without_backends(snap_compare: Compare) -> None:
    assert matches(snap_compare, size=SMALL, shown=empty_snapshot)


@pytest.mark.parametrize("size", [(60, 20), (160, 45), (250, 70)], ids=["least", "wide", "widest"])
def test_overview(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert matches(snap_compare, size=size)


def test_request_story(snap_compare: Compare) -> None:
    assert matches(snap_compare, "4", "j", "j", "j", "j", "enter", size=(100, 44))


def test_quality_story(snap_compare: Compare) -> None:
    assert matches(snap_compare, "7", "G", "enter", size=(100, 44))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_setting(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert matches(snap_compare, "9", "j", "enter", size=size)


def test_draft_of_a_setting(snap_compare: Compare) -> None:
    assert matches(snap_compare, "9", "j", "enter", "0", "enter", size=SMALL)


def test_high_contrast_theme(snap_compare: Compare) -> None:
    assert matches(snap_compare, "j", "j", theme="nexus-high-contrast")


def test_question(snap_compare: Compare) -> None:
    assert matches(snap_compare, "q", size=SMALL)


def test_colour_blind_theme(snap_compare: Compare) -> None:
    assert matches(snap_compare, "2", "j", "j", theme="nexus-colour-blind")


def test_no_colour(snap_compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert matches(snap_compare, "j", size=SMALL)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("theme", ["nexus-dark", "nexus-light"])
def test_chat(
    snap_compare: Compare, size: tuple[int, int], theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Answer, "first_token_ms", 85.0)
    says = [
        Piece(True, "The user asks for a sum. "),
        Piece(False, "Two and two is [bold]four[/]: 二たす二は四です。"),
    ]
    keys = ("c", *"Two_and_two?", "enter")
    assert matches(snap_compare, *keys, size=size, theme=theme, says=says)
