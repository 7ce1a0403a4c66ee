"""The main screen: what is wrong, and a tab for each noun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static, TabbedContent, TabPane, Tabs

from nexus_tui.screens.fitting import fit
from nexus_tui.selection import Selection
from nexus_tui.widgets.backends_pane import BackendsPane
from nexus_tui.widgets.banner import Banner
from nexus_tui.widgets.chat_pane import ChatPane
from nexus_tui.widgets.config_pane import ConfigPane
from nexus_tui.widgets.header_strip import HeaderStrip
from nexus_tui.widgets.key_line import KeyLine
from nexus_tui.widgets.keys_pane import KeysPane
from nexus_tui.widgets.live_table import LiveTable
from nexus_tui.widgets.logs_pane import LogsPane
from nexus_tui.widgets.models_pane import ModelsPane
from nexus_tui.widgets.overview_pane import OverviewPane
from nexus_tui.widgets.quality_pane import QualityPane
from nexus_tui.widgets.queue_pane import QueuePane
from nexus_tui.widgets.requests_pane import RequestsPane
from nexus_tui.widgets.spend_pane import SpendPane
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from textual.events import Resize

    from nexus_proxy.state import Snapshot
    from nexus_tui.source.base import Source


Pane = TablePane[Any] | ChatPane | OverviewPane | SpendPane


class Place(NamedTuple):
    """A tab: the key that leads to it, its name where there is little room, and what it shows."""

    key: str
    short: str
    pane: type[Pane]


PANES = {
    "overview": Place("1", "Home", OverviewPane),
    "backends": Place("2", "Backends", BackendsPane),
    "models": Place("3", "Models", ModelsPane),
    "requests": Place("4", "Reqs", RequestsPane),
    "queue": Place("5", "Queue", QueuePane),
    "spend": Place("6", "Spend", SpendPane),
    "quality": Place("7", "Quality", QualityPane),
    "logs": Place("8", "Logs", LogsPane),
    "config": Place("9", "Config", ConfigPane),
    "keys": Place("0", "Keys", KeysPane),
    "chat": Place("c", "Chat", ChatPane),
}
"""Tabs from left to right."""

ROOMY = 110
"""Columns from which on the tabs have their whole names."""
TOO_SMALL = "Terminal too small: 60×16 needed"


class Dashboard(Screen[None]):
    """Draws only what is visible; hidden tabs catch up when they are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(one.key, f"pane('{name}')", name.capitalize(), show=False, tooltip=f"To {name}")
            for name, one in PANES.items()
            if one.key != "c"
        ),
        Binding("tab", "step(1)", "Next tab", show=False, tooltip="To the next tab"),
        Binding("shift+tab", "step(-1)", "Tab before", show=False, tooltip="To the tab before"),
        Binding("c", "chat", "Chat", show=False, tooltip="Chat with the selected model"),
    ]

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source
        self.snapshot: Snapshot | None = None
        self.panes = {name: one.pane(id=f"{name}-pane") for name, one in PANES.items()}
        self._header = HeaderStrip()
        self._banner = Banner()
        self._tabs = TabbedContent(id="tabs")
        self._keys = KeyLine()

    def compose(self) -> ComposeResult:
        yield Static(TOO_SMALL, id="too-small")
        with Vertical(id="body"):
            yield self._header
            yield self._banner
            with self._tabs:
                for name, pane in self.panes.items():
                    with TabPane(_title(name, roomy=True), id=name):
                        yield pane
            yield self._keys

    def on_mount(self) -> None:
        self.query_one(Tabs).can_focus = False
        self.pane.focus_table()

    def on_resize(self, event: Resize) -> None:
        fit(self, event)
        for name in PANES:
            self._tabs.get_tab(name).label = _title(name, roomy=event.size.width >= ROOMY)

    @property
    def pane(self) -> Pane:
        """What is visible."""
        return self.panes[self._tabs.active or next(iter(PANES))]

    def selection(self) -> Selection | None:
        return self.pane.selection()

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment."""
        self.snapshot = snapshot
        self._header.show(snapshot, self._source.title)
        is_told = isinstance(self.pane, OverviewPane) and snapshot.backends
        self._banner.show(() if is_told else snapshot.problems)
        self.pane.show(snapshot)
        self._keys.look()

    @on(LiveTable.Highlighted)
    def _selected_another(self) -> None:
        self._keys.look()

    @on(TabbedContent.TabActivated)
    def _pane_changed(self) -> None:
        if self.focused is None or self.pane not in self.focused.ancestors_with_self:
            self.pane.focus_table()
        if self.snapshot is not None:
            self.show(self.snapshot)
        self.refresh_bindings()

    def action_pane(self, name: str) -> None:
        if name == self._tabs.active:
            return
        # Textual moves the focus from what is hidden to its neighbour, and shows the tab of what
        # has the focus: a pane with two places for it could not be left.
        self.set_focus(None)
        self._tabs.active = name
        self.pane.focus_table()  # at once: the next key may be there already

    def action_chat(self) -> None:
        """Go to the playground, with what is selected."""
        chosen = self.selection()
        chat = self.panes["chat"]
        if chosen is not None and self.snapshot is not None and isinstance(chat, ChatPane):
            chat.choose(chosen, self.snapshot)
        self.action_pane("chat")

    def action_step(self, steps: int) -> None:
        order = list(PANES)
        here = order.index(self._tabs.active or order[0])
        self.action_pane(order[(here + steps) % len(order)])


def _title(name: str, *, roomy: bool) -> Content:
    """What a tab is called: `2 Backends`; close together where there is little room."""
    key, short, _ = PANES[name]
    shown = f" {name.capitalize()}" if roomy else short
    return Content.assemble((key, "dim"), shown)
