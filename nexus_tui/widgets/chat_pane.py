"""Chat: a small playground that asks the gateway as any tool does. Nothing said here is kept."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.timer import Timer
from textual.worker import Worker

from nexus_proxy.accounting.money import money
from nexus_proxy.cli.talk import Answer, Message
from nexus_proxy.errors import NexusError
from nexus_proxy.state import RUNNING, RequestPhase, RequestView
from nexus_tui.bridge import INTERVAL
from nexus_tui.format import PHASES, Cell, Line, count, duration, milliseconds, rate
from nexus_tui.safe_text import clean
from nexus_tui.screens.chat_model import ChooseModel, chat_models
from nexus_tui.screens.modal import Ask
from nexus_tui.widgets.chat_input import ChatInput
from nexus_tui.widgets.chat_log import ChatLog
from nexus_tui.widgets.steady import Steady

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp
    from nexus_tui.selection import Selection

MOST_CHARACTERS = 400_000
"""Of one conversation, questions and answers."""

_NO_MODEL = "No backend lists a model that can chat yet. Tab 2 says how to add a backend."
_FULL = f"This chat has reached the {MOST_CHARACTERS:,} characters that are kept. ctrl+l clears it."


@dataclass
class Exchange:
    """A question and what came of it."""

    model: str
    question: str
    answer: Answer = field(default_factory=Answer)
    phase: RequestPhase = RequestPhase.STREAMING
    reasons: bool = False
    view: RequestView | None = None
    """What the gateway recorded, once it is over."""

    @property
    def length(self) -> int:
        return len(self.question) + len(self.answer.text)


class ChatPane(Vertical):
    """One conversation with one model at a time, which may change between two questions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop", key_display="esc", tooltip="Stop; else leave the input"),
        Binding("ctrl+o", "model", "Model", priority=True, tooltip="Chat with another model"),
        Binding("ctrl+s", "system", "System", priority=True, tooltip="Set the system prompt"),
        Binding("ctrl+r", "retry", "Retry", priority=True, tooltip="Ask the last question again"),
        Binding("ctrl+y", "copy", "Copy", priority=True, tooltip="Copy the last answer"),
        Binding("ctrl+l", "clear", "Clear", priority=True, tooltip="Forget all that was said"),
        Binding("i,enter", "focus_input", "Type", show=False, tooltip="Back to the input"),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.snapshot: Snapshot | None = None
        self.model: str | None = None
        self._system = ""
        self._exchanges: list[Exchange] = []
        self._about = Steady(id="chat-about")
        self._log = ChatLog(id="chat-log")
        self._facts = Steady(id="chat-facts")
        self._input = ChatInput(id="chat-input")
        self._worker: Worker[None] | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        yield self._about
        yield self._log
        yield self._facts
        yield self._input

    def on_mount(self) -> None:
        self._timer = self.set_interval(INTERVAL, self._look, pause=True)

    # -- what the dashboard asks -----------------------------------------------------------

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        self.snapshot = snapshot
        if self.model is None and (choices := chat_models(snapshot)):
            self.model = choices[0].value
        last = self._last
        if last is not None and last.view is None and last.phase not in RUNNING:
            last.view = _recorded(snapshot, last.answer.request_id)
        self._tell()

    def selection(self) -> Selection | None:
        """Nothing here is to be acted on by a verb."""
        return None

    def focus_table(self) -> None:
        """Go to where something is typed."""
        self.screen.set_focus(self._input)

    def choose(self, selection: Selection, snapshot: Snapshot) -> None:
        """Chat with what is selected: a model on its backend, or the first one of a backend."""
        if selection.backend is None:
            self.model = selection.model or self.model
            return
        selected = [view for view in snapshot.backends if view.name == selection.backend]
        model = selection.model or next((one.id for view in selected for one in view.models), None)
        if model is not None:
            self.model = f"{selection.backend}/{model}"

    # -- a question and its answer ---------------------------------------------------------

    @on(ChatInput.Sent)
    def _send(self, event: ChatInput.Sent) -> None:
        if self._is_running:
            self._complain("An answer is on its way. esc stops it.")
        elif self.model is None:
            self._complain(_NO_MODEL)
        elif sum(one.length for one in self._exchanges) + len(event.text) > MOST_CHARACTERS:
            self._complain(_FULL)
        else:
            self._input.clear()
            self._ask(Exchange(self.model, event.text))

    def _ask(self, exchange: Exchange) -> None:
        messages = self._messages(exchange.question)
        self._exchanges.append(exchange)
        self._log.line("› you", "info")
        self._log.line(exchange.question)
        self._log.line(f"‹ {exchange.model}", "accent")
        self._worker = self.run_worker(
            self._talk(exchange, messages), name="chat", group="chat", exit_on_error=False
        )
        if self._timer is not None:
            self._timer.resume()
        self._tell()

    def _messages(self, question: str) -> Sequence[Message]:
        """All that was said so far, but for questions that got no answer."""
        messages = [Message("system", self._system)] if self._system else []
        for one in self._exchanges:
            if text := one.answer.text:
                messages += [Message("user", one.question), Message("assistant", text)]
        return [*messages, Message("user", question)]

    async def _talk(self, exchange: Exchange, messages: Sequence[Message]) -> None:
        app = cast("NexusApp", self.app)
        phase, words = RequestPhase.CANCELLED, "stopped"
        try:
            await app.source.chat(exchange.model, messages, exchange.answer)
            phase = RequestPhase.DONE
        except NexusError as error:
            phase, words = RequestPhase.FAILED, str(error)
        finally:
            exchange.phase = phase
            self._worker = None
            self._draw(exchange)
            if phase is not RequestPhase.DONE:
                self._log.line(f"{PHASES[phase].glyph} {words}", PHASES[phase].tone)
            self._log.line("")
            self._look()

    @property
    def _last(self) -> Exchange | None:
        return self._exchanges[-1] if self._exchanges else None

    @property
    def _is_running(self) -> bool:
        return self._worker is not None

    # -- drawing ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Draw what came since the last time."""
        last = self._last
        if last is not None:
            self._draw(last)
        if not self._is_running and self._timer is not None:
            self._timer.pause()
        self._tell()

    def _draw(self, exchange: Exchange) -> None:
        for is_reasoning, text in exchange.answer.take():
            if is_reasoning != exchange.reasons:
                self._log.line("· reasoning" if is_reasoning else "· answer", "muted")
                exchange.reasons = is_reasoning
            self._log.add(text, "muted" if is_reasoning else "")

    def _tell(self) -> None:
        model = clean(self.model) if self.model else "none yet"
        system = clean(self._system) if self._system else "none"
        about = (
            Cell("model "),
            Cell(model, "strong"),
            Cell("   system prompt ", "muted"),
            Cell(system, "muted"),
        )
        self._about.say([about])
        last = self._last
        self._facts.display = last is not None
        if last is not None:
            self._facts.say([facts(last, time.monotonic())])

    def _complain(self, message: str) -> None:
        self.notify(message, severity="warning", markup=False)

    # -- keys ------------------------------------------------------------------------------

    def action_stop(self) -> None:
        """Stop the answer; where none is on its way, leave the input, so that keys are keys."""
        if self._worker is not None:
            self._worker.cancel()
        else:
            self._log.focus()

    def action_focus_input(self) -> None:
        self.screen.set_focus(self._input)

    def action_retry(self) -> None:
        """Ask the last question again, of the model that is chosen now."""
        last = self._last
        if last is None or self._is_running or self.model is None:
            return
        self._exchanges.pop()
        self._ask(Exchange(self.model, last.question))

    def action_clear(self) -> None:
        if self._is_running:
            self._complain("An answer is on its way. esc stops it.")
            return
        self._exchanges.clear()
        self._log.clear()
        self._tell()

    def action_copy(self) -> None:
        """Copy the last answer, without the reasoning."""
        text = self._last.answer.text if self._last is not None else ""
        if text:
            self.app.copy_to_clipboard(text)
            self.notify(f"Copied {len(text):,} characters", markup=False, timeout=2)

    def action_model(self) -> None:
        choices = [] if self.snapshot is None else chat_models(self.snapshot)
        if choices:
            self.app.push_screen(ChooseModel(choices), self._chosen)
        else:
            self._complain(_NO_MODEL)

    def _chosen(self, model: str | None) -> None:
        self.model = model or self.model
        self._tell()

    def action_system(self) -> None:
        hint = "What the model is told first. Enter sets it, empty removes it."
        self.app.push_screen(Ask("System prompt", hint=hint, value=self._system), self._told)

    def _told(self, system: str | None) -> None:
        self._system = self._system if system is None else system
        self._tell()


def _recorded(snapshot: Snapshot, request_id: str | None) -> RequestView | None:
    for view in snapshot.requests:
        if view.id == request_id:
            return None if view.phase in RUNNING else view
    return None


def facts(exchange: Exchange, now: float) -> Line:
    """Who answers and how fast; what it cost, and whence that is known, once it is recorded."""
    answer = exchange.answer
    running = exchange.phase in RUNNING
    if running and answer.first_token_ms is None:
        waiting = PHASES[RequestPhase.WAITING].cell
        told = [waiting, Cell(f"for {duration(now - answer.asked_at)}")]
    else:
        told = [PHASES[exchange.phase].cell]
    if answer.backend:
        told.append(Cell(clean(answer.backend), "strong"))
    if answer.reason:
        told.append(Cell(clean(answer.reason)))
    if answer.first_token_ms is not None:
        told.append(Cell(f"first token {milliseconds(answer.first_token_ms)}"))
    if answer.tokens_per_second is not None:
        told.append(Cell(f"{rate(answer.tokens_per_second)} tok/s"))
    view = exchange.view
    source = f", {clean(view.usage_source)}" if view is not None else ""
    if answer.completion_tokens is not None:
        counted = f"{count(answer.prompt_tokens)} in, {count(answer.completion_tokens)} out"
        told.append(Cell(f"{counted}{source}"))
    if not running:
        told.append(_cost(exchange))
    parted = [cell for one in told for cell in (Cell(" · ", "muted"), one)]
    return tuple(parted[1:])


def _cost(exchange: Exchange) -> Cell:
    view, put_aside = exchange.view, exchange.answer.estimated_usd
    if view is None:
        known = f"about {clean(put_aside)} USD, estimated" if put_aside else "not known yet"
        return Cell(f"cost {known}", "muted")
    if view.cost_source == "n/a":
        return Cell("cost nothing", "muted")
    if view.cost_usd is None:
        return Cell("cost unknown", "warn")
    return Cell(f"cost {money(view.cost_usd)}, {clean(view.cost_source)}")
