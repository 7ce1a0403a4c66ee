"""What each screen looks like. Behaviour is asserted elsewhere; these are the pictures.

`pytest tests/tui/test_snapshots.py --snapshot-update` takes them anew: look at them before they
are committed. An app is started for each group of screens and theme, and then led from one to the
next, since starting it takes ten times as long as a picture.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from pytest_textual_snapshot import SVGImageExtension
from syrupy.assertion import SnapshotAssertion
from textual.widgets import Input

from nexus_proxy.cli.talk import Answer, Piece
from nexus_proxy.config.model import Zone
from nexus_proxy.state import Sighting
from nexus_tui.screens import add_backend
from nexus_tui.screens.dashboard import PANES
from nexus_tui.widgets import table_pane
from tests.support.sample_snapshot import empty_snapshot, snapshot
from tests.tui.looking import Looking, looking
from tests.tui.scripted import ScriptedSource

SIZES = {"small": (80, 24), "large": (120, 36), "widest": (250, 70)}
SOON = 0.001
THEMES = {"dark": "nexus-dark", "light": "nexus-light"}


class Scene(NamedTuple):
    """A way to a screen: the keys, what is to be read on it once it is there, and the keys back."""

    keys: Sequence[str]
    sees: str
    back: Sequence[str] = ()
    typed: str = ""
    """What is pasted once the keys are pressed."""


SAID = (
    Piece(True, "The user asks for a sum. "),
    Piece(False, "Two and two is [bold]four[/]: 二たす二は四です。"),
)
SEEN = Sighting(
    url="http://192.168.1.20:8000",
    name="vllm-192.168.1.20",
    kind="vLLM",
    version="0.11.2",
    models=("meta-llama/Llama-3.3-70B-Instruct", "BAAI/bge-m3"),
    zone=Zone.INTERNAL,
    needs_key=False,
    key_variable=None,
    probe_ms=12.4,
)
DRAIN = (
    "Drain ollama? 1 request in flight will finish; qwen3:8b goes to lmstudio; nobody else"
    " serves llava:13b, nomic-embed-text"
)

ESC = ("escape",)
SETTLED = {"models": "▶ next"}
"""What comes to a tab a moment after its table."""
SCENES: dict[str, dict[str, Scene]] = {
    "tabs": {
        name: Scene((place.key,), SETTLED.get(name, ""), ESC if name == "chat" else ())
        for name, place in PANES.items()
    },
    "stories": {
        "filter": Scene(("4", "slash"), "1 of 7", ESC, "status:failed"),
        "backend": Scene(("2", "g", "enter"), "found by", ESC),
        "request": Scene(("4", "g", "j", "j", "j", "j", "enter"), "Clocks", ESC),
        "quality of one": Scene(("7", "G", "enter"), "esc Back", ESC),
        "spend of one": Scene(("6", "enter"), "esc Back", ESC),
        "key": Scene(("0", "enter"), "esc Back", ESC),
        "log line": Scene(("8", "enter"), "esc Back", ESC),
        "help": Scene(("2", "question_mark"), "On this screen", ESC),
    },
    "questions": {
        "palette": Scene(("2", "g", "ctrl+p"), "Search for commands", ESC),
        "drain": Scene(("2", "d"), "Drain ollama?", ESC),
        "zone": Scene(("2", "z"), "least closed", ESC),
        "tags": Scene(("2", "t"), "separated by commas", ESC),
        "add": Scene(("2", "a"), "answered in", ESC, "192.168.1.20:8000"),
        "quit": Scene(("2", "q"), "Stay (s)", ESC),
        "setting": Scene(("9", "g", "j", "enter"), "Enter shows what", ESC),
        "draft": Scene(("9", "g", "j", "enter", "0", "enter"), "Apply (y)", (*ESC, *ESC)),
    },
    "first run": {
        "first run": Scene(("1",), "No backends yet"),
        "first run, backends": Scene(("2",), "No backends yet"),
        "first run, models": Scene(("3",), "No models"),
        "first run, requests": Scene(("4",), "No requests yet"),
    },
    "chat": {"answered": Scene((), "is [bold]four")},
}


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for a person, no cursor blinks, and no figure comes from a clock."""
    monkeypatch.setattr(Input, "_toggle_cursor", lambda _input: None)
    monkeypatch.setattr(table_pane, "REST_SECONDS", SOON)
    monkeypatch.setattr(table_pane, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(add_backend, "PAUSE", SOON)
    monkeypatch.setattr(Answer, "first_token_ms", 85.0)


@pytest.fixture
def pictures(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SVGImageExtension)


async def arrive(look: Looking, scene: Scene) -> None:
    """Press the keys, and wait for what they lead to."""
    for key in scene.keys:
        await look.pilot.press(key)
    if scene.typed:
        await look.type(scene.typed)
    await look.sees(scene.sees)
    await look.pilot.pause()


@asynccontextmanager
async def scripted(group: str, size: tuple[int, int], theme: str) -> AsyncIterator[Looking]:
    """An app before all that the scenes of a group ask of a gateway."""
    source = ScriptedSource(empty_snapshot() if group == "first run" else snapshot())
    source.says, source.sighting = list(SAID), SEEN
    source.questions["backend.drain"] = DRAIN
    async with looking(source, size=size, tab="overview") as look:
        look.app.theme = theme
        if group == "chat":
            await look.press("c", *"Two_and_two?", "enter")
        yield look


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("group", SCENES)
async def test_every_screen_at_every_size(
    group: str, theme: str, pictures: SnapshotAssertion
) -> None:
    different = []
    async with scripted(group, SIZES["small"], THEMES[theme]) as look:
        for size, cells in SIZES.items():
            await look.resize(*cells)
            for name, scene in SCENES[group].items():
                await arrive(look, scene)
                if look.picture != pictures(name=f"{name}-{size}-{theme}"):
                    different.append(f"{name}, {size}:\n{look.text}")
                for key in scene.back:
                    await look.press(key)
    assert not different, "\n".join(different)


@pytest.mark.parametrize(
    ("name", "size", "theme"),
    [
        ("overview", (60, 16), "nexus-dark"),
        ("overview", (160, 45), "nexus-dark"),
        ("backends", (120, 36), "nexus-high-contrast"),
        ("backends", (120, 36), "nexus-colour-blind"),
    ],
)
async def test_other_sizes_and_themes(
    name: str, size: tuple[int, int], theme: str, pictures: SnapshotAssertion
) -> None:
    async with scripted("tabs", size, theme) as look:
        await arrive(look, SCENES["tabs"][name])
        assert look.picture == pictures


async def test_no_colour(pictures: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with scripted("tabs", SIZES["small"], THEMES["dark"]) as look:
        await arrive(look, SCENES["tabs"]["backends"])
        assert look.picture == pictures


async def test_too_small(pictures: SnapshotAssertion) -> None:
    async with looking(size=(59, 15), tab="overview") as look:
        await look.sees("Terminal too small")
        assert look.picture == pictures
