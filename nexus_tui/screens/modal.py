"""Short questions over the screen: confirm, choose, type. Escape always means no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from nexus_tui.format import Cell, Line
from nexus_tui.safe_text import clean
from nexus_tui.screens.fitting import fit
from nexus_tui.themes import paint

R = TypeVar("R")


class Question(ModalScreen[R | None]):
    """A box with a question in it. None is the answer of whoever backs out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back_out", "Cancel", show=False, tooltip="Leave everything as it is"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def on_resize(self, event: Resize) -> None:
        fit(self, event)

    def asked(self) -> Static:
        """The question, and below it, line by line, what it comes to; its words may be foreign."""
        first, *others = self._question.split("\n")
        question, mark, outcome = first.partition("? ")
        told = outcome.split("; ") if outcome else []
        lines: list[Line] = [(Cell(clean(question + mark.rstrip()), "strong"),)]
        bullet = Cell("· " if len(told) > 1 else "", "muted")
        lines += [(), *((bullet, Cell(clean(part))) for part in told)] if told else []
        return Static(
            paint([*lines, *((Cell(clean(line)),) for line in others)]), classes="question"
        )

    def action_back_out(self) -> None:
        self.dismiss(None)


class Confirm(Question[bool]):
    """Yes or no. The focus starts on Cancel."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes", show=False, tooltip="Do it"),
        Binding("n", "answer(False)", "No", show=False, tooltip="Do not"),
        Binding("left,right,up,down", "app.focus_next", "Other", show=False, tooltip="Other"),
    ]

    def __init__(self, question: str, *, yes: str) -> None:
        super().__init__(question)
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            with Horizontal(classes="buttons"):
                yield Button(Content("Cancel (n)"), id="cancel")
                yield Button(Content(f"{self._yes} (y)"), id="yes", variant="warning")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)


class TypeName(Question[bool]):
    """For what cannot be undone: yes is said by typing the backend's name."""

    def __init__(self, question: str, *, name: str) -> None:
        super().__init__(question)
        self._name = name

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            yield Static(Content(f"Type {clean(self._name)} and press enter. Esc cancels."))
            yield Input(select_on_focus=False)
            yield Static(classes="problem")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value.strip() in {self._name, clean(self._name)}:
            self.dismiss(True)
            return
        problem = Content(f"That is not {clean(self._name)}. Nothing was changed.")
        self.query_one(".problem", Static).update(problem)


class Choice(NamedTuple):
    """One answer of `Choose`: what is returned, and what is shown."""

    value: str
    label: str


class Choose(Question[str]):
    """One of several."""

    def __init__(
        self, question: str, choices: Sequence[Choice], *, current: str | None = None
    ) -> None:
        super().__init__(question)
        self._choices = choices
        self._current = current

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            yield OptionList(*(Option(Content(clean(one.label))) for one in self._choices))

    def on_mount(self) -> None:
        values = [one.value for one in self._choices]
        if self._current in values:
            self.query_one(OptionList).highlighted = values.index(self._current)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index].value)


class Ask(Question[str]):
    """A line of text."""

    def __init__(self, question: str, *, hint: str, value: str = "") -> None:
        super().__init__(question)
        self.hint = hint
        self._value = value

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            yield Input(clean(self._value), select_on_focus=False)
            yield Static(Content(self.hint), classes="hint")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())
