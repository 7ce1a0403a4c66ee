"""Themes: readable, kept from run to run; and no meaning that hangs on colour alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.color import Color
from textual.command import CommandPalette
from textual.theme import Theme

from nexus_tui import choices
from nexus_tui.app import NexusApp
from nexus_tui.format import PHASES, QUALITY_STATES, STATES, Mark
from nexus_tui.themes import COLOUR_BLIND, DARK, HIGH_CONTRAST, LIGHT
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def contrast_ratio(one: str, other: str) -> float:
    """1 to 21, by https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    low, high = sorted(map(luminance, (Color.parse(one), Color.parse(other))))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: Color) -> float:
    parts = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in colour.normalized
    ]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))


@pytest.mark.parametrize(
    ("theme", "least"), [(HIGH_CONTRAST, 7.0), (DARK, 4.5), (LIGHT, 4.5), (COLOUR_BLIND, 4.5)]
)
def test_every_tone_can_be_read_on_every_ground(theme: Theme, least: float) -> None:
    tones = [theme.primary, theme.accent, theme.success, theme.warning, theme.error]
    tones += [theme.foreground, theme.variables["text-muted"]]
    weak = {
        (tone, ground): contrast
        for ground in (theme.background, theme.surface, theme.panel)
        for tone in tones
        if (contrast := contrast_ratio(str(tone), str(ground))) < least
    }
    assert weak == {}


@pytest.mark.parametrize("marks", [STATES, PHASES, QUALITY_STATES])
def test_every_state_has_a_shape_and_a_word_of_its_own(marks: dict[object, Mark]) -> None:
    kinds = {type(state) for state in marks}
    (kind,) = kinds
    assert set(marks) == set(kind)  # type: ignore[call-overload]
    assert len({mark.glyph for mark in marks.values()}) == len(marks)
    assert len({mark.word for mark in marks.values()}) == len(marks)


async def test_the_theme_chosen_in_the_palette_is_kept_for_the_next_run() -> None:
    assert choices.remembered_theme() == DARK.name
    app = NexusApp(ScriptedSource(), on_theme=choices.remember_theme)
    async with app.run_test() as pilot:
        await pilot.pause()
        assert choices.remembered_theme() == DARK.name
        app.action_change_theme()
        await pilot.pause()
        assert isinstance(app.screen, CommandPalette)
        await pilot.press(*"contrast")
        for _ in range(100):
            await pilot.pause(0.05)
            await pilot.press("enter")
            if app.theme == HIGH_CONTRAST.name:
                break
        await pilot.pause()
    assert choices.remembered_theme() == HIGH_CONTRAST.name


@pytest.mark.parametrize("text", ["{", "[]", '{"theme": 3}', '{"theme": "gone"}', ""])
def test_a_file_that_makes_no_sense_is_no_choice(text: str) -> None:
    path = choices.choices_file()
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert choices.remembered_theme() == DARK.name


def test_a_folder_that_cannot_be_written_costs_the_choice_only(state_folder: Path) -> None:
    (state_folder / "nexus").write_text("a file where the folder should be")
    choices.remember_theme(LIGHT.name)
    assert choices.remembered_theme() == DARK.name


async def test_no_color_leaves_words_and_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with looking() as look:
        await look.sees("● up", "✕ down", "◐ draining")
        strips = look.app.screen._compositor.render_strips()
        filters = look.app._filters
        styles = [
            segment.style
            for strip in strips
            for shown in [strip.apply_filter(filters[-1], Color.parse("#000000"))]
            for segment in shown
        ]
        colours = [style.color for style in styles if style is not None and style.color]
        assert all(
            colour.triplet is not None and len(set(colour.triplet)) == 1 for colour in colours
        )
