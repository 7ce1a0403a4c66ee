"""The configuration: every key, what is in force, and who said so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from nexus_proxy.config.keys import literal
from nexus_proxy.config.settings import Setting
from nexus_proxy.errors import NexusError
from nexus_tui.format import Cell, Line
from nexus_tui.safe_text import clean
from nexus_tui.screens.edit_setting import EditSetting, about
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp

STALE_SECONDS = 5.0
"""After this it is fetched again: the file may be edited elsewhere."""


_CHANGES: Line = (
    Cell("enter", "accent"),
    Cell("  changes it, after showing what the file becomes."),
)


class ConfigPane(TablePane[Setting]):
    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._settings: Sequence[Setting] = ()
        self._fetched = float("-inf")
        self._problem: str | None = None

    def columns(self) -> Sequence[Column[Setting]]:
        return (
            Column(title="Key", width=30, grow=True, sort=lambda s: s.key),
            Column(title="Value", width=18, grow=True),
            Column(title="From", width=16, priority=1, sort=_kind),
            Column(title="Takes", width=24, priority=2, grow=True),
        )

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        if snapshot.taken_at - self._fetched > STALE_SECONDS:
            self._fetched = snapshot.taken_at
            self.fetch()

    def fetch(self) -> None:
        """Ask the gateway what is in force now."""
        self.run_worker(self._fetch(), exclusive=True, exit_on_error=False)

    async def _fetch(self) -> None:
        try:
            fetched = await cast("NexusApp", self.app).source.settings()
        except NexusError as error:
            self._problem = str(error)
        else:
            self._problem = None
            if fetched != self._settings:
                self._settings = fetched
        self.redraw()

    def items(self, snapshot: Snapshot) -> Sequence[Setting]:
        return self._settings

    def key(self, item: Setting) -> str:
        return item.key

    def cells(self, item: Setting) -> Sequence[Cell]:
        said = item.origin != "default"
        return (
            Cell(clean(item.key), "strong" if said else ""),
            Cell(clean(literal(item.value)), "" if said else "muted"),
            Cell(clean(short_origin(item.origin)), "info" if said else "muted"),
            Cell(item.wanted, "muted"),
        )

    def haystack(self, item: Setting) -> str:
        words = (item.key, literal(item.value), item.origin, f"from:{_kind(item)}", item.help)
        return " ".join(words)

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        if self._problem is not None:
            return [(Cell(clean(self._problem), "bad"),)]
        return [(Cell("Asking the gateway for its configuration …", "muted"),)]

    def story(self, item: Setting, snapshot: Snapshot, width: int) -> Sequence[Line]:
        changes = [] if cast("NexusApp", self.app).source.read_only else [(), _CHANGES]
        return [(Cell(clean(item.key), "strong"),), (), *about(item), *changes]

    def detail(self, item: Setting) -> EditSetting:
        return EditSetting(item, done=self.fetch)


def short_origin(origin: str) -> str:
    """`nexus.toml:12` for a line of a file, else the variable, the flag or `default`."""
    return origin.rpartition("/")[2]


def _kind(setting: Setting) -> str:
    if setting.origin == "default":
        return "default"
    if setting.origin.startswith("--"):
        return "flag"
    return "file" if ":" in setting.origin else "env"
