"""One key of the configuration: what it is for, a new value, and what the file would become."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from nexus_proxy.commands.settings import Draft
from nexus_proxy.config.keys import literal
from nexus_proxy.config.settings import HIDDEN, Setting
from nexus_proxy.errors import NexusError
from nexus_tui.format import Cell, Line, Tone
from nexus_tui.safe_text import clean
from nexus_tui.screens.modal import Confirm, Question
from nexus_tui.themes import paint

if TYPE_CHECKING:
    from nexus_tui.app import NexusApp

HINT = "Enter shows what the file would become. Empty takes the key out of it. Esc leaves."
READ_ONLY = "Read-only: attach with the management key in NEXUS_API_KEY to change it. Esc leaves."
_TONES: dict[str, Tone] = {"+": "good", "-": "bad", "@": "info"}


class Apply(Confirm):
    """Shows a draft and asks whether it shall be so."""

    def __init__(self, draft: Draft, path: str) -> None:
        super().__init__(f"{path} becomes:", yes="Apply")
        self._draft = draft

    def asked(self) -> Static:
        lines: list[Line] = [(Cell(clean(self._question), "strong"),), ()]
        lines += [(Cell(clean(line), _TONES.get(line[:1], "muted")),) for line in self._draft.diff]
        lines += [(), *((Cell(clean(note), "warn"),) for note in self._draft.notes)]
        return Static(paint(lines), classes="question diff")


class EditSetting(Question[None]):
    """Asks for a value of the key's type; what is wrong with it is said beside it."""

    def __init__(self, setting: Setting, *, done: Callable[[], None]) -> None:
        super().__init__(setting.key)
        self._setting, self._done = setting, done

    @property
    def _nexus(self) -> NexusApp:
        return cast("NexusApp", self.app)

    def compose(self) -> ComposeResult:
        one = self._setting
        with Vertical(classes="box wide"):
            yield self.asked()
            with VerticalScroll(classes="about", can_focus=False):
                yield Static(paint(about(one)))
            if self._nexus.source.read_only:
                yield Static(Content(READ_ONLY), classes="hint")
            else:
                yield Input(_editable(one.value), placeholder=one.wanted, select_on_focus=False)
                yield Static(Content(HINT), classes="hint")

    @on(Input.Changed)
    def _changed(self) -> None:
        self._say(HINT)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.run_worker(self._edit(event.value.strip()), exclusive=True, exit_on_error=False)

    async def _edit(self, text: str) -> None:
        source, key = self._nexus.source, self._setting.key
        try:
            draft = await source.draft(key, text or None)
            if not draft.diff:
                self._say("The file says so already: nothing would change.")
                return
            path = source.snapshot().config_path or "the configuration file"
            if await self._nexus.push_screen_wait(Apply(draft, path)) is not True:
                return
            if text:
                done = await source.run("config.set", {"key": key, "value": text})
            else:
                done = await source.run("config.unset", {"key": key})
        except NexusError as error:
            self._say(clean(str(error)), problem=True)
            return
        self._nexus.did(done)
        self._done()
        self.dismiss()

    def _say(self, text: str, *, problem: bool = False) -> None:
        hint = self.query_one(".hint", Static)
        hint.set_class(problem, "problem")
        hint.update(Content(text))


def about(one: Setting) -> list[Line]:
    """What a key is for, what it takes, what it is now, and who said so."""
    late = [(Cell("A change takes effect with the next start.", "warn"),)] if one.is_late else []
    return [
        (Cell(clean(one.help) or "An entry of your own."),),
        (Cell("takes  ", "muted"), Cell(one.wanted)),
        (Cell("now    ", "muted"), Cell(clean(literal(one.value)), "strong")),
        (Cell("from   ", "muted"), Cell(clean(one.origin))),
        *late,
    ]


def _editable(value: Any) -> str:
    """The value as it is typed: text without quotes; nothing for what is not set or not shown."""
    if value is None or (isinstance(value, str) and HIDDEN in value):
        return ""
    return clean(value if isinstance(value, str) else literal(value))
