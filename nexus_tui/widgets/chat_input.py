"""Where a message is typed: enter sends it, and it may have more than one line."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

PLACEHOLDER = "Say something. Enter sends, ctrl+j begins a new line."


class ChatInput(TextArea):
    # Every terminal delivers ctrl+j. The others need one with the kitty keyboard protocol: without
    # it shift+enter is enter, and alt+enter is read as enter too.
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", priority=True, tooltip="Send the message"),
        Binding(
            "ctrl+j,alt+enter,shift+enter",
            "insert_line",
            "New line",
            key_display="ctrl+j",
            priority=True,
            show=False,
            tooltip="Begin a new line",
        ),
    ]

    class Sent(Message):
        """The message is to be sent."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, compact=True, highlight_cursor_line=False, placeholder=PLACEHOLDER)
        self.cursor_blink = False

    def action_send(self) -> None:
        if self.text.strip():
            self.post_message(self.Sent(self.text))

    def action_insert_line(self) -> None:
        self.insert("\n")
