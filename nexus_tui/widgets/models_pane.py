"""Models: every model on every backend that serves it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from nexus_proxy.state import BackendView, ModelInfo
from nexus_tui.format import STAR, STATES, Cell, Line, capabilities, context, loaded, size
from nexus_tui.safe_text import clean
from nexus_tui.screens.backend_detail import BackendDetailScreen
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


class Served(NamedTuple):
    """One model on one backend."""

    model: ModelInfo
    backend: str


class ModelsPane(TablePane[Served]):
    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._listed: list[tuple[str, tuple[ModelInfo, ...]]] = []
        self._rows: Sequence[Served] = ()
        self._backends: dict[str, BackendView] = {}

    def columns(self) -> Sequence[Column[Served]]:
        return (
            Column(title="Model", width=20, grow=True, sort=lambda row: row.model.id),
            Column(title="Backend", width=14, sort=lambda row: row.backend),
            Column(
                title="Context",
                width=12,
                right=True,
                sort=lambda row: row.model.context_length,
            ),
            Column(title="Loaded", width=6, priority=2),
            Column(title="Quant", width=8, priority=3, sort=lambda row: row.model.quantization),
            Column(
                title="Size", width=7, priority=4, right=True, sort=lambda row: row.model.size_bytes
            ),
            Column(title="Can", width=18, priority=1, grow=True),
        )

    def items(self, snapshot: Snapshot) -> Sequence[Served]:
        self._backends = {view.name: view for view in snapshot.backends}
        listed = [(view.name, view.models) for view in snapshot.backends]
        if listed != self._listed:
            self._listed = listed
            rows = [Served(model, name) for name, models in listed for model in models]
            self._rows = sorted(rows, key=lambda row: (row.model.id, row.backend))
        return self._rows

    def key(self, item: Served) -> str:
        return f"{item.backend}\0{item.model.id}"

    def cells(self, item: Served) -> Sequence[Cell]:
        model, view = item.model, self._backends[item.backend]
        mark = STATES[view.state]
        star = f"{STAR} " if self._is_pinned(item) else ""
        return (
            Cell(star + clean(model.id), "strong"),
            Cell(f"{mark.glyph} {clean(item.backend)}", mark.tone),
            Cell(context(model)),
            loaded(model),
            Cell(clean(model.quantization or ""), "muted"),
            Cell(size(model.size_bytes), "muted"),
            Cell(capabilities(model)),
        )

    def _is_pinned(self, item: Served) -> bool:
        pins = {} if self.snapshot is None else self.snapshot.pins
        return pins.get(item.model.id) == item.backend

    def haystack(self, item: Served) -> str:
        view = self._backends[item.backend]
        can = " ".join(f"can:{one.value}" for one in item.model.can)
        state = f"state:{STATES[view.state].word} zone:{view.zone.label}"
        return " ".join((item.model.id, *item.model.aliases, item.backend, state, can))

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        if not snapshot.backends:
            return [
                (Cell("No models, since there are no backends yet.", "strong"),),
                (Cell("2", "accent"), Cell("  shows where Nexus looks, and how to add one.")),
            ]
        return [
            (Cell("None of the backends lists a model.", "strong"),),
            (Cell("Load one there, for example:"),),
            (Cell("    ollama pull qwen3:0.6b", "info"),),
            (Cell("then "), Cell("r", "accent"), Cell(" on the backend looks again at once.")),
        ]

    def detail(self, item: Served) -> BackendDetailScreen:
        return BackendDetailScreen(item.backend, self.snapshot)

    def selection(self) -> Selection:
        selected = self.table.selected
        return Selection() if selected is None else Selection(selected.backend, selected.model.id)
