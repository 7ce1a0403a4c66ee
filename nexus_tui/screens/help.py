"""All keys, generated from the bindings, and what the marks mean."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.commands import COMMANDS
from nexus_tui.format import NEXT, PHASES, STAR, STATES, Cell, Line, heading
from nexus_tui.keymap import UNDONE_BY, label
from nexus_tui.request_filter import HELP as FILTER_HELP
from nexus_tui.screens.story import StoryScreen

if TYPE_CHECKING:
    from textual.binding import ActiveBinding
    from textual.screen import Screen

_KEY_WIDTH = 16
_VERBS = ("backend.", "model.")


class HelpScreen(StoryScreen):
    """Explains the screen it was called from."""

    def __init__(self, of: Screen[object]) -> None:
        super().__init__()
        self._active = [
            (of.app.get_key_display(active.binding), active)
            for active in of.active_bindings.values()
            if active.binding.description and not active.binding.system
        ]

    def story(self) -> Sequence[Line]:
        ids = {active.binding.id for _, active in self._active}
        act = [one for one in self._active if (one[1].binding.id or "").startswith(_VERBS)]
        here = [one for one in self._active if one not in act]
        elsewhere = [one for one in COMMANDS if one.key and one.name not in ids]
        with_key = {*UNDONE_BY.values(), *(one.name for one in COMMANDS if one.key)}
        keyless = [command for command in COMMANDS if command.name not in with_key]
        return [
            (Cell("Keys", "strong"),),
            *heading("On this screen"),
            *_rows(here),
            *heading("Commands"),
            *_rows(act, named=True),
            *(_row(one.key or "", f"{label(one)}, elsewhere: {one.help}") for one in elsewhere),
            *heading("Only in the palette (ctrl+p)"),
            *(_row(label(command), command.help) for command in keyless),
            *heading("Filter of the requests (/)"),
            *(_row(term, what) for term, what in FILTER_HELP),
            *heading("Marks"),
            *_marks(),
        ]


def _rows(bindings: Iterable[tuple[str, ActiveBinding]], *, named: bool = False) -> list[Line]:
    keys: dict[str, tuple[list[str], str]] = {}
    for key, active in bindings:
        binding = active.binding
        text = active.tooltip or binding.description
        if named:
            text = f"{binding.description}: {text}"
        keys.setdefault(binding.action, ([], text))[0].append(key)
    tabs = [keys.pop(action) for action in list(keys) if action.startswith("pane(")]
    rows = [_row(" ".join(dict.fromkeys(pressed)), text) for pressed, text in keys.values()]
    if not tabs:
        return rows
    places = ", ".join(text.removeprefix("To ") for _, text in tabs)
    return [_row("".join(pressed[0] for pressed, _ in tabs), f"To {places}"), *rows]


def _row(left: str, right: str) -> Line:
    return (Cell(f"  {left:<{_KEY_WIDTH}}  ", "strong"), Cell(right))


def _marks() -> list[Line]:
    backends = [cell for mark in STATES.values() for cell in (mark.cell, Cell("   "))]
    requests = [cell for mark in PHASES.values() for cell in (mark.cell, Cell("   "))]
    models = [cell for mark in NEXT.values() for cell in (mark.cell, Cell("   "))]
    return [
        (Cell("  backends  "), *backends, Cell(f"{STAR} pinned", "accent")),
        (Cell("  requests  "), *requests),
        (Cell("  would serve a model now  "), *models),
    ]
