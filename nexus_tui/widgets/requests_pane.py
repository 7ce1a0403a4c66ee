"""Requests: what is running and what ran, newest first."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import msgspec

from nexus_proxy.errors import NexusError
from nexus_proxy.state import RequestView
from nexus_tui.format import (
    NONE,
    PHASES,
    Cell,
    Line,
    elapsed_ms,
    example,
    milliseconds,
    tokens,
)
from nexus_tui.request_filter import HINT, everything, understand
from nexus_tui.safe_text import clean
from nexus_tui.screens.request_detail import RequestDetailScreen, request_story
from nexus_tui.selection import Selection
from nexus_tui.widgets.columns import Column
from nexus_tui.widgets.table_pane import TablePane

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp

log = logging.getLogger(__name__)


class RequestsPane(TablePane[RequestView]):
    FOLLOW = "first"
    FILTER_HINT = HINT

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._told: RequestView | None = None
        """The last request of which the decision was asked."""
        self._asking = False

    def columns(self) -> Sequence[Column[RequestView]]:
        title, width = self.moment.column
        return (
            Column(title=title, width=width, right=True, sort=lambda view: -view.started),
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
        moment = self.moment
        used = f"{tokens(item.prompt_tokens)} → {tokens(item.completion_tokens)}"
        known = item.prompt_tokens is not None or item.completion_tokens is not None
        return (
            Cell(moment.age(item.started), "muted"),
            Cell(clean(item.model or item.model_asked), "strong"),
            Cell(clean(item.backend) if item.backend else NONE),
            PHASES[item.phase].cell,
            Cell(used if known else NONE),
            Cell(milliseconds(item.first_token_ms)),
            Cell(milliseconds(elapsed_ms(item, moment.now))),
            Cell(str(item.status or NONE), "bad" if (item.status or 0) >= 400 else "muted"),
            Cell(clean(item.client), "muted"),
            Cell(clean(item.error or ""), "bad"),
        )

    def haystack(self, item: RequestView) -> str:
        return everything(item)

    def passes(self, words: tuple[str, ...]) -> tuple[Callable[[RequestView], bool], str | None]:
        wanted = understand(words)
        return (lambda view: wanted.passes(view, self.moment.now)), wanted.problem

    def nothing(self, snapshot: Snapshot) -> Sequence[Line]:
        return [
            (Cell("No requests yet.", "strong"),),
            (),
            (Cell("Point a client at "), Cell(f"{clean(snapshot.endpoint)}/v1", "info")),
            (Cell("or, in another terminal:"),),
            (Cell(f"    {clean(example(snapshot))}", "info"),),
        ]

    def story(self, item: RequestView, snapshot: Snapshot, width: int) -> Sequence[Line]:
        if item.decision is None:
            item = self._decided(item)
        return request_story(item, self.moment, width)

    def _decided(self, item: RequestView) -> RequestView:
        """The request with its decision, which snapshots leave out of older ones; without, until
        it has come."""
        if self._told is not None and self._told.id == item.id:
            return msgspec.structs.replace(item, decision=self._told.decision)
        if not self._asking:
            self._asking = True
            self.run_worker(self._fetch(item.id), name="story", exit_on_error=False)
        return item

    async def _fetch(self, id_: str) -> None:
        try:
            self._told = await cast("NexusApp", self.app).source.story(id_)
        except NexusError as error:
            log.debug("no story of %s: %s", id_, error)
        else:
            self.tell()
        finally:
            self._asking = False

    def detail(self, item: RequestView) -> RequestDetailScreen:
        now = item.started if self.snapshot is None else self.snapshot.taken_at
        return RequestDetailScreen(item, now)

    def selection(self) -> Selection:
        selected = self.table.selected
        if selected is None:
            return Selection()
        return Selection(selected.backend, selected.model, selected.id)
