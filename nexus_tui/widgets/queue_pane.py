"""Queue: who waits for a slot, in the order of service, and what each waits for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nexus_proxy.config.model import Priority
from nexus_proxy.state import Obstacle, WaiterView
from nexus_tui.format import NONE, Cell, Line, duration, field
from nexus_tui.safe_text import clean
from nexus_tui.screens.request_detail import RequestDetailScreen, request_story
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot


def waits_for(view: WaiterView) -> str:
    """`gpubox: all 2 slots taken; attic: swap: qwen3:8b runs 1 request`."""
    return "; ".join(f"{clean(one.backend)}: {clean(one.why)}" for one in view.waits_for)


def _why(one: Obstacle) -> Line:
    return Cell(clean(one.backend), "strong"), Cell(f": {clean(one.why)}", "warn")


class QueuePane(TablePane[WaiterView]):
    def columns(self) -> Sequence[Column[WaiterView]]:
        title, width = ("Since", 8) if self.moment.absolute else ("Waiting", 7)
        return (
            Column(title="#", width=3, right=True),
            Column(title=title, width=width, right=True),
            Column(title="Model", width=16, grow=True),
            Column(title="Priority", width=8, priority=2),
            Column(title="Turn in", width=8, right=True, priority=1),
            Column(title="Waits for", width=28, grow=True, most=100),
            Column(title="Request", width=16, priority=3),
        )

    def items(self, snapshot: Snapshot) -> Sequence[WaiterView]:
        return snapshot.queue

    def key(self, item: WaiterView) -> str:
        return item.id

    def cells(self, item: WaiterView) -> Sequence[Cell]:
        moment = self.moment
        waits = moment.clock(item.since) if moment.absolute else duration(moment.now - item.since)
        eta = NONE if item.eta_seconds is None else f"~{duration(item.eta_seconds)}"
        is_high = item.priority is Priority.HIGH
        return (
            Cell(str(item.position), "muted"),
            Cell(waits),
            Cell(clean(item.model), "strong"),
            Cell("▲ high" if is_high else "normal", "accent" if is_high else "muted"),
            Cell(eta),
            Cell(waits_for(item), "warn"),
            Cell(clean(item.id), "muted"),
        )

    def haystack(self, item: WaiterView) -> str:
        return f"{item.id} {item.model} priority:{item.priority.value} {waits_for(item)}"

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        return [
            (Cell("Nobody waits.", "strong"),),
            (),
            (
                Cell(
                    "Requests come here while all backends that could serve them are busy: when all"
                ),
            ),
            (Cell("their slots are taken, or another model must finish before theirs is loaded."),),
            (
                Cell("How long and how many is set under "),
                Cell("[queue]", "info"),
                Cell(" in the"),
            ),
            (Cell("configuration: "), Cell("nexus config show", "info")),
        ]

    def story(self, item: WaiterView, snapshot: Snapshot, width: int) -> Sequence[Line]:
        view = next((view for view in snapshot.requests if view.id == item.id), None)
        turn = NONE if item.eta_seconds is None else f"in about {duration(item.eta_seconds)}"
        return [
            (Cell(f"Place {item.position} in the queue", "strong"),),
            field("turn", Cell(turn)),
            *(field("waits for", *_why(one)) for one in item.waits_for),
            (),
            *(() if view is None else request_story(view, self.moment, width)),
        ]

    def detail(self, item: WaiterView) -> RequestDetailScreen | None:
        """The story of the request that waits, while it is listed."""
        if self.snapshot is None:
            return None
        views = (view for view in self.snapshot.requests if view.id == item.id)
        view = next(views, None)
        return None if view is None else RequestDetailScreen(view, self.snapshot.taken_at)

    def selection(self) -> Selection:
        selected = self.table.selected
        if selected is None:
            return Selection()
        if not selected.waits_for:
            return Selection(request=selected.id)
        first = selected.waits_for[0]
        return Selection(first.backend, first.model, selected.id)
