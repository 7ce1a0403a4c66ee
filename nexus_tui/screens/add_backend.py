"""Add a backend by its URL: ask the server what it is, and say here what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerState

from nexus_proxy.commands import Result
from nexus_proxy.errors import NexusError
from nexus_tui.safe_text import clean
from nexus_tui.screens.modal import Question

if TYPE_CHECKING:
    from nexus_tui.source import Source

HINT = "Enter asks the server what it is. With or without /v1. Esc cancels."


class AddBackend(Question[Result]):
    """Returns what the verb did once it has worked; errors stay inside, beside the URL."""

    def __init__(self, source: Source) -> None:
        super().__init__("Add a backend by its URL")
        self._source = source

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            yield Input(placeholder="http://192.168.1.20:11434", select_on_focus=False)
            yield Static(Content(HINT), classes="hint")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if url := event.value.strip():
            self.run_worker(self._add(url), exclusive=True, exit_on_error=False)

    @on(Input.Changed)
    def _changed(self) -> None:
        self._say(HINT)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self._say(clean(f"{event.worker.error!r}"), problem=True)

    async def _add(self, url: str) -> None:
        self._say(f"Asking {clean(url)} what it is …")
        try:
            result = await self._source.run("backend.add", {"url": url})
        except NexusError as error:
            self._say(clean(str(error)), problem=True)
        else:
            self.dismiss(result)

    def _say(self, text: str, *, problem: bool = False) -> None:
        hint = self.query_one(".hint", Static)
        hint.set_class(problem, "problem")
        hint.update(Content(text))
