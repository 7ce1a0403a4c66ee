"""Where a message is typed: enter sends it, and it may have more than one line."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

# Every terminal delivers ctrl+j. The others need one with the kitty keyboard protocol: without it
# shift+enter is enter, and alt+enter is read as enter too.
_NEW_LINE = ("ctrl+j", "alt+enter", "shift+enter")
PLACEHOLDER = "Say something. Enter sends, ctrl+j begins a new line."


class ChatInput(TextArea):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", tooltip="Send the message"),
        Binding(
            ",".join(_NEW_LINE),
            "insert_line",
            "New line",
            key_display="ctrl+j",
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

    async def _on_key(self, event: events.Key) -> None:
        # No key here has priority: it would overtake the characters typed right before it.
        if event.key == "enter" or event.key in _NEW_LINE:
            event.stop()
            event.prevent_default()
            if event.key == "enter":
                self.action_send()
            else:
                self.action_insert_line()

    def action_send(self) -> None:
        if self.text.strip():
            self.post_message(self.Sent(self.text))

    def action_insert_line(self) -> None:
        self.insert("\n")
