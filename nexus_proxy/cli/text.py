"""Plain text for terminals and pipes: foreign strings made harmless, columns aligned.

No library of the screen is used here, since the CLI must start fast and run without it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterator, Sequence

LONGEST = 200
"""Characters kept of one foreign string."""
ELLIPSIS = "…"
GAP = "  "


def clean(text: str, longest: int = LONGEST) -> str:
    """`text` as one line without control characters, escape sequences or bidirectional marks."""
    cut = text if len(text) <= longest else text[: longest - 1] + ELLIPSIS
    return "".join(_harmless(character) for character in cut)


def width(text: str) -> int:
    """How many terminal cells `text` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> Iterator[str]:
    """Lines of a table. Cells are cleaned here; columns named in `right` are flush right, and
    nothing is cut off or padded at the end of a line."""
    lines = [list(header), *([clean(cell) for cell in row] for row in rows)]
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            pad(cell, cells, right=name in right)
            for cell, cells, name in zip(line, widths, header, strict=True)
        )
        yield GAP.join(cells).rstrip()


def pad(text: str, cells: int, *, right: bool = False) -> str:
    """`text` filled up with spaces to at least `cells` terminal cells."""
    filling = " " * (cells - width(text))
    return filling + text if right else text + filling


def milliseconds(value: float | None) -> str:
    """A duration in a unit that suits it; `-` where unknown."""
    if value is None:
        return "-"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 60_000 else uptime(value / 1000)


def uptime(seconds: float) -> str:
    """`12 s`, `3 min`, `5 h 10 min`, `2 d 4 h`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"


def tokens(number: int | None) -> str:
    """A number of tokens; `-` where unknown."""
    return "-" if number is None else str(number)


def _harmless(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else " "
    match unicodedata.category(character):
        case "Cc" | "Zl" | "Zp" | "Zs":
            return " "
        case "Cf" | "Me":
            return ""
        case "Cs" | "Co" | "Cn":
            return "·"
        case _:
            return character


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
