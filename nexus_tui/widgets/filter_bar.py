"""The line that narrows a table down, and what its words mean."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from nexus_tui.format import Cell
from nexus_tui.safe_text import clean
from nexus_tui.widgets.steady import Steady

PLACEHOLDER = "words, !word to exclude; esc clears"


def matches(words: tuple[str, ...], text: str) -> bool:
    """Whether lower-case `text` has every word, and none of those that start with `!`."""
    return all(
        word[1:] not in text if word.startswith("!") and len(word) > 1 else word in text
        for word in words
    )


class FilterBar(Horizontal):
    """Hidden until asked for; stays visible while it filters anything."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear", "Clear", key_display="esc", tooltip="Show all rows again"),
    ]

    class Changed(Message):
        """Other words than before."""

    class Left(Message):
        """The table is to have the focus again."""

    def __init__(self, hint: str = PLACEHOLDER) -> None:
        super().__init__()
        self.display = False
        self._problem: str | None = None
        self._input = Input(placeholder=hint, compact=True, select_on_focus=False)
        self._input.cursor_blink = False
        self._count = Steady(id="filter-count")

    def compose(self) -> ComposeResult:
        yield Static("/", id="filter-slash")
        yield self._input
        yield self._count

    @property
    def words(self) -> tuple[str, ...]:
        """What to look for, in lower case."""
        return tuple(self._input.value.lower().split())

    def open(self) -> None:
        self.display = True
        self.screen.set_focus(self._input)  # at once: the next key may be there already

    def action_clear(self) -> None:
        """Filter nothing, and go away."""
        self._input.clear()
        self.display = False
        self.post_message(self.Left())

    def show_count(self, shown: int, of: int) -> None:
        text = f"{shown} of {of}" if self.words else ""
        problem = (Cell(f"▲ {clean(self._problem)}  ", "bad"),) if self._problem else ()
        self._count.say([(*problem, Cell(text, "muted"))])

    def complain(self, problem: str | None) -> None:
        """Say with the next count what was not understood."""
        self._problem = problem

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self.words:
            self.display = False
        self.post_message(self.Left())
