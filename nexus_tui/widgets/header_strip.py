"""The first two rows: my address, who is up, what is running, is anything wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard, cast

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from nexus_proxy.accounting.money import money
from nexus_proxy.state import BackendState, BudgetLevel, BudgetStanding
from nexus_proxy.wording import plural
from nexus_tui.format import Cell, Line, Moment, Tone, in_service, rate
from nexus_tui.safe_text import clean
from nexus_tui.themes import paint

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot
    from nexus_tui.app import NexusApp

_GAP = "   "
_MARKS = {BudgetLevel.OK: "", BudgetLevel.SOFT: "▲ ", BudgetLevel.HARD: "✕ "}
_TONES: dict[BudgetLevel, Tone] = {
    BudgetLevel.OK: "",
    BudgetLevel.SOFT: "warn",
    BudgetLevel.HARD: "bad",
}


def header_lines(
    snapshot: Snapshot, title: str, width: int, *, absolute: bool = False
) -> tuple[Line, Line]:
    """Both rows, each as wide as `width`; what matters least is left out first."""
    moment = Moment(snapshot.taken_at, absolute)
    up_for = Cell(f"up {moment.lasting(snapshot.started_at).removeprefix('for ')}", "muted")
    address = [
        (Cell("◆ Nexus", "accent"),),
        (Cell(clean(snapshot.endpoint), "strong"),),
        (Cell(clean(title), "muted"),),
        (Cell(f"strategy {clean(snapshot.strategy)}", "muted"),),
        (Cell(f"v{clean(snapshot.version)}", "muted"),),
    ]
    return (
        _spread(address, (up_for,), width),
        _spread(_figures(snapshot), (_verdict(snapshot),), width),
    )


def _figures(snapshot: Snapshot) -> Sequence[Line]:
    totals = snapshot.totals
    up = sum(view.state is BackendState.UP for view in snapshot.backends)
    total = len(snapshot.backends)
    tone: Tone = "good" if up == total else "warn" if up else "bad"
    backends = Cell(f"● {up}/{total} up", tone) if total else Cell("○ no backends", "muted")
    running = in_service(snapshot)
    return [
        *([(Cell("✈ airplane: no cloud", "warn"),)] if snapshot.airplane else []),
        (backends,),
        (Cell(f"{running} in flight", "accent" if running else "muted"),),
        *([(Cell(f"≡ {len(snapshot.queue)} queued", "warn"),)] if snapshot.queue else []),
        *([_spend(snapshot.budget)] if _is_spent(snapshot.budget) else []),
        (Cell(f"{rate(totals.requests_per_second)} req/s"),),
        (Cell(f"{rate(totals.tokens_per_second)} tok/s"),),
        (
            Cell(plural(totals.requests, "request"), "muted"),
            Cell(f", {totals.failures:,} failed", "bad" if totals.failures else "muted"),
        ),
    ]


def _is_spent(budget: BudgetStanding | None) -> TypeGuard[BudgetStanding]:
    """Whether there is money to tell of: a limit, or spend."""
    return budget is not None and (
        budget.limit_usd is not None or budget.spent_usd > 0 or budget.unknown_requests > 0
    )


def _spend(budget: BudgetStanding) -> Line:
    used = money(budget.spent_usd + budget.reserved_usd)
    unknown = f" + {budget.unknown_requests}?" if budget.unknown_requests else ""
    if budget.limit_usd is None:
        return (Cell(f"{used}{unknown} spent"),)
    text = f"{used}{unknown} of {money(budget.limit_usd)}"
    return (Cell(f"{_MARKS[budget.level]}{text}", _TONES[budget.level]),)


def _verdict(snapshot: Snapshot) -> Cell:
    if snapshot.draining:
        return Cell("◐ draining, no new requests", "warn")
    if not snapshot.backends:
        return Cell("a adds a backend", "accent")
    if snapshot.problems:
        return Cell(f"▲ {plural(len(snapshot.problems), 'problem')}", "bad")
    return Cell("✓ no problems", "good")


def _spread(left: Sequence[Line], right: Line, width: int) -> Line:
    """As many parts as fit on the left, the rest of the row, and the right part at its end."""
    room = width - _length(right) - len(_GAP)
    row: Line = ()
    for part in left:
        wider = (*row, *((Cell(_GAP),) if row else ()), *part)
        if _length(wider) > room:
            break
        row = wider
    filler = " " * max(1, width - _length(row) - _length(right))
    return (*row, Cell(filler), *right)


def _length(line: Line) -> int:
    return sum(cell_len(cell.text) for cell in line)


class HeaderStrip(Widget):
    """Redraws itself only when a figure has changed. A click on the address copies it."""

    class AddressClicked(Message):
        """The endpoint is to be copied."""

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot | None = None
        self._title = ""
        self._content = Content()

    def show(self, snapshot: Snapshot, title: str) -> None:
        """Draw this moment. `title` says where the gateway runs."""
        self._snapshot, self._title = snapshot, title
        self._redraw()

    def _redraw(self) -> None:
        if self._snapshot is None:
            return
        content = paint(
            header_lines(
                self._snapshot,
                self._title,
                self.content_size.width,
                absolute=cast("NexusApp", self.app).shows_clock,
            )
        )
        if not content.is_same(self._content):
            self._content = content
            self.refresh()

    def on_resize(self) -> None:
        self._redraw()

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            self.post_message(self.AddressClicked())

    def render(self) -> Content:
        return self._content
