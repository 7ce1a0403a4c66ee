"""Requests: what is running and what ran, newest first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from nexus_proxy.state import RequestView
from nexus_tui.format import (
    NONE,
    PHASES,
    Cell,
    Line,
    age,
    clock,
    elapsed_ms,
    example,
    milliseconds,
    tokens,
)
from nexus_tui.request_filter import HINT, everything, understand
from nexus_tui.safe_text import clean
from nexus_tui.screens.request_detail import RequestDetailScreen
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


class RequestsPane(TablePane[RequestView]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("T", "times", "Times", show=False, tooltip="How long ago, or at what time"),
    ]
    FOLLOW = "first"
    FILTER_HINT = HINT
    _shows_clock = False

    def columns(self) -> Sequence[Column[RequestView]]:
        title = "Time" if self._shows_clock else "Age"
        return (
            Column(title=title, width=8, right=True, sort=lambda view: -view.started),
            Column(title="Model", width=16, grow=True),
            Column(title="Backend", width=12, grow=True, most=24),
            Column(title="Phase", width=11),
            Column(title="Tokens", width=11, right=True, priority=2),
            Column(title="1st token", width=9, right=True, priority=3),
            Column(title="Total", width=7, right=True, priority=1),
            Column(title="Status", width=6, right=True, priority=5),
            Column(title="Client", width=15, priority=6),
            Column(title="Error", width=24, priority=4, grow=True),
        )

    def items(self, snapshot: Snapshot) -> Sequence[RequestView]:
        return snapshot.requests

    def key(self, item: RequestView) -> str:
        return item.id

    def cells(self, item: RequestView) -> Sequence[Cell]:
        now = self._now
        used = f"{tokens(item.prompt_tokens)} → {tokens(item.completion_tokens)}"
        known = item.prompt_tokens is not None or item.completion_tokens is not None
        return (
            Cell(clock(item.started) if self._shows_clock else age(item.started, now), "muted"),
            Cell(clean(item.model or item.model_asked), "strong"),
            Cell(clean(item.backend) if item.backend else NONE),
            PHASES[item.phase].cell,
            Cell(used if known else NONE),
            Cell(milliseconds(item.first_token_ms)),
            Cell(milliseconds(elapsed_ms(item, now))),
            Cell(str(item.status or NONE), "bad" if (item.status or 0) >= 400 else "muted"),
            Cell(clean(item.client), "muted"),
            Cell(clean(item.error or ""), "bad"),
        )

    def haystack(self, item: RequestView) -> str:
        return everything(item)

    def passes(self, words: tuple[str, ...]) -> tuple[Callable[[RequestView], bool], str | None]:
        wanted = understand(words)
        return (lambda view: wanted.passes(view, self._now)), wanted.problem

    @property
    def _now(self) -> float:
        return 0.0 if self.snapshot is None else self.snapshot.taken_at

    def action_times(self) -> None:
        """Show when requests came, or how long ago."""
        self._shows_clock = not self._shows_clock
        self.table.use(self.columns())
        self.redraw()

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        return [
            (Cell("No requests yet.", "strong"),),
            (),
            (Cell("Point a client at "), Cell(f"{clean(snapshot.endpoint)}/v1", "info")),
            (Cell("or, in another terminal:"),),
            (Cell(f"    {clean(example(snapshot))}", "info"),),
        ]

    def detail(self, item: RequestView) -> RequestDetailScreen:
        now = item.started if self.snapshot is None else self.snapshot.taken_at
        return RequestDetailScreen(item, now)

    def selection(self) -> Selection:
        selected = self.table.selected
        if selected is None:
            return Selection()
        return Selection(selected.backend, selected.model, selected.id)
