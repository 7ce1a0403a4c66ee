"""Foreign strings made harmless. Names, ids, URLs, errors and log lines come from the network.

What leaves here is one line of characters whose width every terminal agrees on: no control
characters, no escape sequences, no bidirectional overrides, no invisible or stacking characters.
Markup is not touched, since nothing that passes through here is ever parsed as markup.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len, set_cell_size

REPLACEMENT = "·"
ELLIPSIS = "…"
MAX_LENGTH = 2_000
"""Characters kept of one string; what is longer is an attack or an accident."""

_TAB = " " * 4
_MAX_MARKS = 2
"""Combining marks in a row that real scripts use; more paint over the lines above."""


@lru_cache(maxsize=8192)
def clean(text: str) -> str:
    """`text` as one harmless line."""
    cut = text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + ELLIPSIS
    if cut.isascii() and cut.isprintable():
        return cut
    return _cleaned(cut)


def clean_text(text: str) -> str:
    """`text` of any length as harmless lines, with a newline between two and no tab in any."""
    lines = text.replace("\t", _TAB).replace("\r", "").split("\n")
    return "\n".join(
        line if line.isascii() and line.isprintable() else _cleaned(line) for line in lines
    )


def _cleaned(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        shown = _harmless(character)
        marks = marks + 1 if shown and unicodedata.combining(shown) else 0
        if marks <= _MAX_MARKS:
            kept.append(shown)
    return "".join(kept)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` cut or padded to exactly `width` cells; what was cut off shows as an ellipsis."""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, max(0, width - 1)) + ELLIPSIS if width else ""
    padding = " " * (width - length)
    return padding + text if right else text + padding


def _harmless(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp":
            return " " if character.isspace() else REPLACEMENT
        case "Cf":
            return ""
        case "Cs" | "Co" | "Cn":
            return REPLACEMENT
        case "Zs":
            return " "
        case "Me":
            return ""
        case "Mn":
            return "" if "VARIATION SELECTOR" in unicodedata.name(character, "") else character
        case _:
            return character
