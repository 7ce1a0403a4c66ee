"""The last row: the keys that do something here, as many as fit, and whether they can now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from rich.cells import cell_len
from textual.screen import Screen

from nexus_tui.format import Cell, Line
from nexus_tui.keymap import offer
from nexus_tui.widgets.canvas import Canvas

if TYPE_CHECKING:
    from nexus_tui.app import NexusApp

_GAP = 2


class Key(NamedTuple):
    """A key as it stands in the row. `pressed` is what Textual calls it; `verb` names the verb that
    it runs, if it runs one."""

    key: str
    label: str
    pressed: str
    verb: str | None
    can: bool = True


MORE = Key("^p", "More", "ctrl+p", None)
"""Stands at the end where not all keys fit."""


class KeyLine(Canvas):
    """Draws itself when the keys change, and when `look` finds that what they mean did."""

    def __init__(self) -> None:
        super().__init__()
        self._bound: Sequence[Key] = ()
        self._shown: Sequence[Key] = ()

    @property
    def _nexus(self) -> NexusApp:
        return cast("NexusApp", self.app)

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._rebind)

    def on_resize(self) -> None:
        self.look()

    def _rebind(self, screen: Screen[object]) -> None:
        if not self.is_attached or screen is not self.screen:
            return
        found: dict[str, Key] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.show and binding.action not in found:
                key = self.app.get_key_display(binding)
                verb = binding.id if binding.action.startswith("verb(") else None
                found[binding.action] = Key(
                    key, binding.description, binding.key, verb, active.enabled
                )
        self._bound = tuple(found.values())
        self.look()

    def look(self) -> None:
        """See what the keys mean now."""
        if not self.is_attached:
            return
        selection, snapshot = self._nexus.selection(), self._nexus.latest
        keys = []
        for key in self._bound:
            if key.verb is not None and snapshot is not None:
                label, can = offer(key.verb, selection, snapshot)
                key = key._replace(label=label, can=can)
            keys.append(key)
        self._shown = _fitting(keys, self.content_size.width)
        self.say([_line(self._shown)])

    def on_canvas_clicked(self, event: Canvas.Clicked) -> None:
        """What is clicked is as if its key were pressed."""
        event.stop()
        left = self.gutter.left
        for key in self._shown:
            width = _width(key)
            if left <= event.x < left + width:
                self.app.simulate_key(key.pressed)
                return
            left += width + _GAP


def _width(key: Key) -> int:
    return cell_len(key.key) + 1 + cell_len(key.label)


def _fitting(keys: Sequence[Key], width: int) -> Sequence[Key]:
    """All keys; or the first of those that can do something, as many as fit, and last what shows
    the others."""
    if _total(keys) <= width:
        return keys
    kept = [key for key in keys if key.can]
    while kept and _total([*kept, MORE]) > width:
        kept.pop()
    return [*kept, MORE]


def _total(keys: Sequence[Key]) -> int:
    return sum(map(_width, keys)) + _GAP * (len(keys) - 1)


def _line(keys: Sequence[Key]) -> Line:
    cells: list[Cell] = []
    for key in keys:
        cells += [
            Cell(key.key, "accent" if key.can else "muted"),
            Cell(f" {key.label}{' ' * _GAP}", "" if key.can else "muted"),
        ]
    return tuple(cells)
