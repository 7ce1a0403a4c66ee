"""The app: wires the bridge to the screens, and keys to the verbs. It decides nothing itself."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

from rich.traceback import Traceback
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import Provider
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from nexus_proxy.commands import BY_NAME
from nexus_proxy.lifecycle.operation import sentence
from nexus_tui import verbs
from nexus_tui.bridge import INTERVAL, Bridge
from nexus_tui.keymap import needs_selection, verb_bindings
from nexus_tui.messages import SnapshotReady
from nexus_tui.palette import NexusCommands
from nexus_tui.safe_text import clean
from nexus_tui.screens.dashboard import PANES, ROOMY, Dashboard
from nexus_tui.screens.help import HelpScreen
from nexus_tui.screens.quit import QuitQuestion
from nexus_tui.selection import Selection
from nexus_tui.themes import DARK, THEMES
from nexus_tui.widgets.header_strip import HeaderStrip
from nexus_tui.widgets.side import WIDE

if TYPE_CHECKING:
    from textual.driver import Driver
    from textual.theme import Theme

    from nexus_proxy.commands import Act, Result
    from nexus_proxy.state import Snapshot
    from nexus_tui.source.base import Source

log = logging.getLogger(__name__)

Leave = Literal["quit", "quit-now"]
"""How the user left: let running requests finish, or cut them off."""

_WIDTHS = [(0, "-too-narrow"), (60, "-narrow"), (ROOMY, "-wide"), (WIDE, "-widest")]
_HEIGHTS = [(0, "-too-low"), (16, "-high")]
"""The classes that screens get by their size in cells; nexus.tcss says what they change."""

_ERROR_SECONDS = 12.0
_QUIT_HELP = "Leave; asks while requests run"
_TIMES_HELP = "Tell times as how long ago, or by the clock"
_UNDO_HELP = "Undo the last act of this screen"
_ACTS_KEPT = 50


class Done(NamedTuple):
    """An act of this screen, in words, and what undoes it."""

    what: str
    inverse: Act


@runtime_checkable
class Shows(Protocol):
    """A screen that draws snapshots, as soon as it has something to draw on."""

    def show(self, snapshot: Snapshot) -> None: ...


@runtime_checkable
class Selects(Protocol):
    """A screen with something on it that verbs can act on; None where it has none just now."""

    def selection(self) -> Selection | None: ...


class NexusApp(App[Leave]):
    """The terminal UI over one `Source`. `run_async` returns a `Leave`, or None if told to exit."""

    TITLE = "Nexus"
    CSS_PATH = "nexus.tcss"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {NexusCommands}
    HORIZONTAL_BREAKPOINTS = _WIDTHS
    VERTICAL_BREAKPOINTS = _HEIGHTS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "copy_endpoint", "Copy address", show=False, tooltip="Copy the endpoint"),
        Binding("question_mark", "help", "Help", key_display="?", tooltip="All keys"),
        Binding("q", "quit", "Quit", tooltip=_QUIT_HELP),
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, tooltip=_QUIT_HELP),
        Binding("T", "times", "Times", show=False, tooltip=_TIMES_HELP),
        Binding("u,ctrl+z", "undo", "Undo", show=False, tooltip=_UNDO_HELP),
        *verb_bindings(),
    ]

    def __init__(
        self,
        source: Source,
        *,
        theme: str = DARK.name,
        on_theme: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self._on_theme = on_theme
        """Told of another theme that is chosen."""
        self.latest: Snapshot | None = None
        """What is on the screen."""
        self.shows_clock = False
        """Whether times are told by the clock, instead of as how long ago."""
        self.acts: deque[Done] = deque(maxlen=_ACTS_KEPT)
        """What can be undone, the newest last."""
        self.animation_level = "none"
        foreign = tuple(self.available_themes)
        for one in THEMES:
            self.register_theme(one)
        self.theme = theme
        for name in foreign:
            self.unregister_theme(name)
        self._bridge: Bridge | None = None
        self._ended: set[str] | None = None
        """Operations that were over when we last looked; None: we have not yet."""

    def get_driver_class(self) -> type[Driver]:
        """Textual's own choice, but for one that would let the terminal stop the gateway."""
        chosen = super().get_driver_class()
        if chosen.__name__ != "LinuxDriver":
            return chosen
        from nexus_tui.driver import DroppingDriver

        return DroppingDriver

    def get_default_screen(self) -> Screen[None]:
        return Dashboard(self.source)

    def _theme_chosen(self, theme: Theme) -> None:
        if self._on_theme is not None:
            self._on_theme(theme.name)

    # -- snapshots ---------------------------------------------------------------------------

    def on_mount(self) -> None:
        self._bridge = Bridge(self.source, lambda taken: self.post_message(SnapshotReady(taken)))
        self.set_interval(INTERVAL, self._bridge.tick)
        self._bridge.tick()
        self.theme_changed_signal.subscribe(self, self._theme_chosen)

    def on_unmount(self) -> None:
        if self._bridge is not None:
            self._bridge.close()

    def on_snapshot_ready(self, message: SnapshotReady) -> None:
        self.latest = message.snapshot
        with self.batch_update():
            for screen in reversed(self.screen_stack):
                if isinstance(screen, Shows):
                    screen.show(message.snapshot)
                if not screen.is_modal:
                    break
        self._tell_ends(message.snapshot)
        if self._bridge is not None:
            self._bridge.delivered()

    def _tell_ends(self, snapshot: Snapshot) -> None:
        """Say how operations on models ended, wherever they were begun."""
        ended = {one.id: one for one in snapshot.operations if one.is_over}
        for id_, one in ended.items():
            if self._ended is None or id_ in self._ended:
                continue
            if one.error is None:
                self.tell(sentence(one))
            else:
                self.complain(sentence(one), title=BY_NAME[f"model.{one.kind.value}"].title)
        self._ended = set(ended)

    # -- verbs -------------------------------------------------------------------------------

    def selection(self) -> Selection:
        """What verbs would act on now."""
        return self._selection() or Selection()

    def _selection(self) -> Selection | None:
        screens = [screen for screen in self.screen_stack if not screen.is_modal]
        return screens[-1].selection() if screens and isinstance(screens[-1], Selects) else None

    def perform(self, name: str, selection: Selection, **given: object) -> None:
        """Start a verb; its questions and its result appear as they come."""
        work = verbs.perform(self, name, selection, given)
        self.run_worker(work, name=name, group="verbs", exit_on_error=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug on the way to a verb is told like a refusal; the screen stays."""
        error = event.worker.error
        if event.state is WorkerState.ERROR and error is not None:
            log.error("%s failed", event.worker.name, exc_info=error)
            self.complain(f"{error!r}. Details are in the log.", title=event.worker.name)

    def action_verb(self, name: str) -> None:
        self.perform(name, self.selection())

    def action_prefer(self, step: int) -> None:
        selection = self.selection()
        backends = self.source.snapshot().backends
        view = next((one for one in backends if one.name == selection.backend), None)
        if view is None:
            self.tell("No backend is selected.")
        else:
            self.perform("backend.priority", selection, priority=max(0, view.priority + step))

    def action_undo(self) -> None:
        self.run_worker(verbs.undo(self), name="Undo", group="verbs", exit_on_error=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Verbs exist only where there is something that they could act on."""
        if action in {"verb", "prefer"}:
            if self.source.read_only:
                return False
            name = str(parameters[0]) if action == "verb" else "backend.priority"
            if name == "request.cancel":
                return self.selection().request is not None
            return not needs_selection(name) or self._selection() is not None
        if action == "undo":
            return not self.source.read_only
        return super().check_action(action, parameters)

    def did(self, result: Result) -> None:
        """Say what a verb did, and remember what undoes it."""
        if result.inverse is None:
            self.tell(result.message)
        else:
            self.acts.append(Done(result.message.partition(";")[0], result.inverse))
            self.tell(f"{result.message}\nu undoes it")

    def tell(self, message: str) -> None:
        """Say something, for a few seconds. Its lines stay lines."""
        self.notify("\n".join(map(clean, message.split("\n"))), markup=False)

    def complain(self, message: str, *, title: str) -> None:
        """Say why a verb was refused, long enough to be read."""
        self.notify(
            clean(message), title=title, severity="error", timeout=_ERROR_SECONDS, markup=False
        )

    # -- the rest ----------------------------------------------------------------------------

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        dashboard = self.screen_stack[0]
        if isinstance(dashboard, Dashboard):
            for name in PANES:
                title, help_ = f"Go to {name.capitalize()}", f"Show the tab {name}"
                yield SystemCommand(title, help_, lambda name=name: dashboard.action_pane(name))
        if self.acts and not self.source.read_only:
            yield SystemCommand(f"Undo: {clean(self.acts[-1].what)}", _UNDO_HELP, self.action_undo)
        yield SystemCommand("Times", _TIMES_HELP, self.action_times)
        yield SystemCommand("Theme", "Change the colours", self.action_change_theme)
        yield SystemCommand("Copy address", "Copy the endpoint", self.action_copy_endpoint)
        yield SystemCommand("Help", "All keys, and what the marks mean", self.action_help)
        yield SystemCommand("Quit", _QUIT_HELP, self.action_quit)

    def on_header_strip_address_clicked(self, _: HeaderStrip.AddressClicked) -> None:
        self.action_copy_endpoint()

    def action_copy_endpoint(self) -> None:
        self.copy(self.source.snapshot().endpoint)

    def copy(self, text: str) -> None:
        """Put harmless text on the clipboard, and say which."""
        harmless = clean(text)
        self.copy_to_clipboard(harmless)
        self.tell(f"Copied {harmless}")

    def action_times(self) -> None:
        """Tell all times the other way, at once and everywhere."""
        self.shows_clock = not self.shows_clock
        if self.latest is not None:
            self.post_message(SnapshotReady(self.latest))

    def action_help(self) -> None:
        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self.screen))

    def _fatal_error(self) -> None:
        """Leave after a bug. Textual's own version prints all locals: the whole gateway."""
        log.error("the terminal UI crashed", exc_info=sys.exception())
        self.panic(Traceback(show_locals=False))

    async def action_quit(self) -> None:
        """Leave at once where that harms nobody, else ask."""
        running = 0 if self.source.attached else self.source.snapshot().totals.in_flight
        if running:
            self.push_screen(QuitQuestion(running), self._leave)
        else:
            self.exit("quit")

    def _leave(self, answer: str | None) -> None:
        if answer is not None:
            self.exit("quit-now" if answer == "quit-now" else "quit")
