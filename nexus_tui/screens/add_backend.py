"""Add a backend by its URL: what answers there is shown while it is typed, before it is added."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static
from textual.worker import Worker, WorkerState

from nexus_proxy.commands import Result
from nexus_proxy.errors import NexusError
from nexus_proxy.wording import plural
from nexus_tui.format import Cell, Line, milliseconds, names
from nexus_tui.safe_text import clean
from nexus_tui.screens.modal import Question
from nexus_tui.themes import paint

if TYPE_CHECKING:
    from nexus_proxy.state import Sighting
    from nexus_tui.source.base import Source

HINT = "What answers there is shown here. With or without /v1. Enter adds it, Esc cancels."
PAUSE = 0.5
"""Seconds without a key after which the server is asked."""
SHORTEST = 4
"""Characters; no address is shorter, and half an address is not worth a question."""


class AddBackend(Question[Result]):
    """Returns what the verb did once it has worked; errors stay inside, beside the URL."""

    def __init__(self, source: Source) -> None:
        super().__init__("Add a backend by its URL")
        self._source = source
        self._waiting: Timer | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            yield Input(placeholder="http://192.168.1.20:11434", select_on_focus=False)
            yield Static(Content(HINT), classes="hint")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self._hold()
        if url := event.value.strip():
            self.run_worker(self._add(url), exclusive=True, exit_on_error=False)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._hold()
        self.workers.cancel_node(self)
        self._say([(Cell(HINT),)])
        url = event.value.strip()
        if len(url) >= SHORTEST:
            self._waiting = self.set_timer(PAUSE, lambda: self._ask(url))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        if event.state is WorkerState.ERROR:
            self._complain(f"{event.worker.error!r}")

    def _hold(self) -> None:
        if self._waiting is not None:
            self._waiting.stop()

    def _ask(self, url: str) -> None:
        self.run_worker(self._look(url), exclusive=True, exit_on_error=False)

    async def _look(self, url: str) -> None:
        self._say([(Cell(f"Asking {clean(url)} what it is …"),)])
        try:
            self._say(sighted(await self._source.look_at(url)))
        except NexusError as error:
            self._complain(str(error))

    async def _add(self, url: str) -> None:
        self._say([(Cell(f"Asking {clean(url)} what it is, to add it …"),)])
        try:
            result = await self._source.run("backend.add", {"url": url})
        except NexusError as error:
            self._complain(str(error))
        else:
            self.dismiss(result)

    def _complain(self, text: str) -> None:
        self._say([(Cell(f"✕ {clean(text)}", "bad"),)])

    def _say(self, lines: list[Line]) -> None:
        self.query_one(".hint", Static).update(paint(lines))


def sighted(seen: Sighting) -> list[Line]:
    """What answers at a URL, in a few lines."""
    version = f" {clean(seen.version)}" if seen.version else ""
    test = f"● answered in {milliseconds(seen.probe_ms)}" if seen.problem is None else "✕ no"
    lines: list[Line] = [
        (Cell(f"{seen.kind}{version}", "strong"), Cell(f" at {clean(seen.url)}")),
        (Cell(f"  {'models':<8}", "muted"), _models(seen)),
        (Cell(f"  {'key':<8}", "muted"), _key(seen)),
        (Cell(f"  {'zone':<8}", "muted"), Cell(f"{seen.zone.label} (z changes it)")),
        (Cell(f"  {'test':<8}", "muted"), Cell(test, "bad" if seen.problem else "good")),
    ]
    if seen.problem is not None:
        lines.append((Cell(f"  {clean(seen.problem)}", "bad"),))
    return [*lines, (), (Cell(f"Enter adds it as {clean(seen.name)}. Esc cancels."),)]


def _models(seen: Sighting) -> Cell:
    if not seen.models:
        return Cell("none listed", "warn")
    return Cell(f"{plural(len(seen.models), 'model')}: {names(seen.models)}")


def _key(seen: Sighting) -> Cell:
    if seen.key_variable is not None:
        return Cell(f"from {clean(seen.key_variable)}")
    if seen.needs_key:
        return Cell("wants one: then set its api_key_env, in the configuration (9)", "warn")
    return Cell("none needed")
