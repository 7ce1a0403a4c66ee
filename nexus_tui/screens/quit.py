"""Leaving while requests run: drain, cut them off, or stay."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button

from nexus_proxy.wording import plural
from nexus_tui.screens.modal import Question


class QuitQuestion(Question[str]):
    """Answers `quit` (drain first), `quit-now`, or None: stay."""

    AUTO_FOCUS = "#stay"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("d", "answer('quit')", "Drain and quit", show=False, tooltip="Let them finish"),
        Binding("n", "answer('quit-now')", "Quit now", show=False, tooltip="Cut them off"),
        Binding("s", "back_out", "Stay", show=False, tooltip="Leave everything as it is"),
        Binding("right,down", "app.focus_next", "Next", show=False, tooltip="Next answer"),
        Binding("left,up", "app.focus_previous", "Previous", show=False, tooltip="Answer before"),
    ]

    def __init__(self, in_flight: int) -> None:
        super().__init__(
            f"Quit? {plural(in_flight, 'request')} in flight; drain and quit takes no new ones and "
            "lets these finish; quit now cuts them off"
        )

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            with Horizontal(classes="buttons"):
                yield Button(Content("Stay (s)"), id="stay")
                yield Button(Content("Drain and quit (d)"), id="quit", variant="warning")
                yield Button(Content("Quit now (n)"), id="quit-now", variant="error")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(None if event.button.id == "stay" else event.button.id)

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
