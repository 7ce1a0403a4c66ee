"""Which model to chat with: all that the gateway answers to, narrowed down by typing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from nexus_proxy.config.values import is_glob
from nexus_proxy.state import BackendState, Capability
from nexus_tui.safe_text import clean
from nexus_tui.screens.modal import Choice, Question

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

_MOST_SHOWN = 100


def chat_models(snapshot: Snapshot) -> Sequence[Choice]:
    """Models that can chat, those first that some backend serves now, then aliases."""
    return [*_served(snapshot), *_aliases(snapshot)]


def _served(snapshot: Snapshot) -> Iterator[Choice]:
    backends: dict[str, list[str]] = {}
    up = {view.name for view in snapshot.backends if view.state is BackendState.UP}
    for view in snapshot.backends:
        for model in view.models:
            if not model.can or Capability.CHAT in model.can:
                backends.setdefault(model.id, []).append(view.name)
    for id_ in sorted(backends, key=lambda one: (up.isdisjoint(backends[one]), one)):
        away = "" if not up.isdisjoint(backends[id_]) else ", not up now"
        yield Choice(id_, f"{id_}  on {', '.join(backends[id_])}{away}")


def _aliases(snapshot: Snapshot) -> Iterator[Choice]:
    for alias, target in sorted(snapshot.aliases.items()):
        if not is_glob(alias):  # a pattern is no name to ask for
            yield Choice(alias, f"{alias}  → {target}")


class ChooseModel(Question[str]):
    """The model's id or alias."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "move(1)", "Down", show=False, tooltip="The next one"),
        Binding("up", "move(-1)", "Up", show=False, tooltip="The one before"),
    ]

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__("Chat with which model?")
        self._choices = choices
        self._shown: Sequence[Choice] = ()

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            yield self.asked()
            yield Input(placeholder="a part of its name", select_on_focus=False)
            yield OptionList()

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self._narrow("")

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        self._narrow(event.value)

    def _narrow(self, typed: str) -> None:
        word = typed.strip().lower()
        found = [one for one in self._choices if word in one.label.lower()]
        self._shown = found[:_MOST_SHOWN]
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(Option(Content(clean(one.label))) for one in self._shown)
        options.highlighted = 0 if self._shown else None

    def action_move(self, rows: int) -> None:
        options = self.query_one(OptionList)
        if rows > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        index = self.query_one(OptionList).highlighted
        if index is not None:
            self.dismiss(self._shown[index].value)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._shown[event.option_index].value)
