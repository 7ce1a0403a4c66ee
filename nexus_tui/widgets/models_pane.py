"""Models: every model on every backend that serves it, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from nexus_proxy.state import BackendView, ModelInfo, OperationView
from nexus_tui.format import (
    STAR,
    STATES,
    Cell,
    Line,
    capabilities,
    context,
    loaded,
    operation,
    size,
)
from nexus_tui.safe_text import clean
from nexus_tui.screens.backend_detail import BackendDetailScreen
from nexus_tui.screens.model_story import model_story
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.next_up import NextUp
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp


_ACTING_WIDTH = len("loading 120 s of ~300 s")


class Served(NamedTuple):
    """One model on one backend."""

    model: ModelInfo
    backend: str


class ModelsPane(TablePane[Served]):
    _acting = False
    """Whether a model is being loaded or unloaded, which takes more room to tell."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._operations: dict[tuple[str, str], OperationView] = {}
        self._listed: dict[str, tuple[ModelInfo, ...]] = {}
        self._served: dict[str, list[Served]] = {}
        self._together: dict[str, list[Served]] = {}
        self._rows: Sequence[Served] = ()
        self._backends: dict[str, BackendView] = {}
        self._next = NextUp(self._seen, self.redraw)

    def on_mount(self) -> None:
        app = cast("NexusApp", self.app)
        self.run_worker(self._next.run(app.source), name="next up", exit_on_error=False)

    def _seen(self) -> Sequence[str]:
        """The models that somebody sees now."""
        if not self.is_attached or self.app.screen is not self.screen or not self.is_on_screen:
            return ()
        return tuple(dict.fromkeys(row.model.id for row in self.table.in_view))

    def columns(self) -> Sequence[Column[Served]]:
        return (
            Column(title="Model", width=16, grow=True, sort=lambda row: row.model.id),
            Column(title="Backend", width=14, grow=True, most=24, sort=lambda row: row.backend),
            Column(title="Now", width=8),
            Column(
                title="Context",
                width=12,
                right=True,
                sort=lambda row: row.model.context_length,
            ),
            Column(
                title="Loaded",
                width=_ACTING_WIDTH if self._acting else 6,
                priority=0 if self._acting else 2,
            ),
            Column(title="Quant", width=8, priority=3, sort=lambda row: row.model.quantization),
            Column(
                title="Size", width=7, priority=4, right=True, sort=lambda row: row.model.size_bytes
            ),
            Column(title="Can", width=12, priority=1, grow=True),
        )

    def show(self, snapshot: Snapshot) -> None:
        running = [one for one in snapshot.operations if not one.is_over]
        self._operations = {(one.acts_on, one.model): one for one in running}
        if self._acting is not bool(running):
            self._acting = bool(running)
            self.table.use(self.columns())
        super().show(snapshot)
        self._next.look()

    def items(self, snapshot: Snapshot) -> Sequence[Served]:
        self._backends = {view.name: view for view in snapshot.backends}
        listed = {view.name: view.models for view in snapshot.backends}
        if listed != self._listed:
            self._served = {name: self._serve(name, models) for name, models in listed.items()}
            self._listed = listed
            self._rows = self._by_model()
        return self._rows

    def _serve(self, name: str, models: tuple[ModelInfo, ...]) -> list[Served]:
        """The rows of one backend; the same as before, if it lists the same."""
        if self._listed.get(name) == models:
            return self._served[name]
        return [Served(model, name) for model in models]

    def _by_model(self) -> Sequence[Served]:
        """All rows by model, then backend. Sorting them all would hold the gateway up where there
        are a hundred thousand."""
        together = self._together = {}
        for name in sorted(self._served):
            for row in self._served[name]:
                together.setdefault(row.model.id, []).append(row)
        return [row for model in sorted(together) for row in together[model]]

    def key(self, item: Served) -> str:
        return f"{item.backend}\0{item.model.id}"

    def cells(self, item: Served) -> Sequence[Cell]:
        model, view = item.model, self._backends[item.backend]
        mark = STATES[view.state]
        star = f"{STAR} " if self._is_pinned(item) else ""
        return (
            Cell(star + clean(model.id), "strong"),
            Cell(f"{mark.glyph} {clean(item.backend)}", mark.tone),
            self._next.mark(item.backend, model.id),
            Cell(context(model)),
            self._memory(item),
            Cell(clean(model.quantization or ""), "muted"),
            Cell(size(model.size_bytes), "muted"),
            Cell(capabilities(model)),
        )

    def _memory(self, item: Served) -> Cell:
        running = self._operations.get((item.backend, item.model.id))
        if running is None or self.snapshot is None:
            return loaded(item.model)
        return operation(running, self.moment)

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

    def story(self, item: Served, snapshot: Snapshot, width: int) -> Sequence[Line]:
        def standing(backend: str) -> Cell:
            return self._next.mark(backend, item.model.id)

        servers = [
            (self._backends[row.backend], row.model) for row in self._together[item.model.id]
        ]
        return model_story(item.model, servers, snapshot, standing)

    def copied(self, item: Served) -> str:
        return item.model.id

    def detail(self, item: Served) -> BackendDetailScreen:
        return BackendDetailScreen(item.backend, self.snapshot)

    def selection(self) -> Selection:
        selected = self.table.selected
        return Selection() if selected is None else Selection(selected.backend, selected.model.id)
