"""Colours: four themes, and the one place that gives a tone its colour."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content
from textual.theme import Theme

from nexus_tui.format import Line, Tone

DARK = Theme(
    name="nexus-dark",
    primary="#6cb6ff",
    secondary="#8ea3bd",
    accent="#e2a56b",
    success="#7fce8f",
    warning="#e5c76b",
    error="#f27c7c",
    foreground="#d5dde8",
    background="#10141b",
    surface="#161b24",
    panel="#1e2531",
    dark=True,
    variables={"text-muted": "#7f8da1"},
)

LIGHT = Theme(
    name="nexus-light",
    primary="#1b5da6",
    secondary="#5b6b80",
    accent="#9c4b0a",
    success="#1d6f38",
    warning="#7d5800",
    error="#b0261f",
    foreground="#20262e",
    background="#fbfaf7",
    surface="#f3f1eb",
    panel="#e8e5dc",
    dark=False,
    variables={"text-muted": "#5e6369"},
)

COLOUR_BLIND = Theme(
    name="nexus-colour-blind",
    primary="#8cc4f0",
    secondary="#9aa7b8",
    accent="#cc99cc",
    success="#56b4e9",
    warning="#f0e442",
    error="#f08a24",
    foreground="#dfe4ea",
    background="#101216",
    surface="#171a20",
    panel="#20242c",
    dark=True,
    variables={"text-muted": "#8a919c"},
)
"""Blue for good, yellow and orange for trouble: the Okabe-Ito palette, safe for all common kinds
of colour blindness (https://jfly.uni-koeln.de/color/)."""

HIGH_CONTRAST = Theme(
    name="nexus-high-contrast",
    primary="#7cc7ff",
    secondary="#d0d0d0",
    accent="#ffb45e",
    success="#5cff8a",
    warning="#ffe94d",
    error="#ff9a94",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1c2540",
    dark=True,
    variables={"text-muted": "#d0d0d0"},
)
"""Every text at least 7 to 1 against what is behind it, as WCAG 2 asks for in its level AAA
(https://www.w3.org/TR/WCAG22/#contrast-enhanced)."""

THEMES = (DARK, LIGHT, HIGH_CONTRAST, COLOUR_BLIND)

TONES: dict[Tone, str] = {
    "": "",
    "strong": "bold",
    "muted": "$text-muted",
    "accent": "$accent",
    "good": "$success",
    "warn": "$warning",
    "bad": "$error",
    "info": "$primary",
}


def paint(lines: Iterable[Line]) -> Content:
    """Lines of cells as content that follows the theme. Never parses markup."""
    return Content("\n").join(_assemble(line) for line in lines)


def _assemble(line: Line) -> Content:
    # what is foreign in a line was cleaned when the line was made; looking again is dear
    parts = ((cell.text, TONES[cell.tone]) for cell in line)
    return Content.assemble(*parts, strip_control_codes=False)
