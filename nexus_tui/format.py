"""Values as text: pure functions from a number, a moment or a state to what the screen says.

Nothing here reads a clock; whoever needs "now" passes the snapshot's own moment.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from nexus_proxy.accounting.money import money
from nexus_proxy.config.model import Zone
from nexus_proxy.state import (
    RUNNING,
    BackendState,
    BackendView,
    Capability,
    KeyView,
    ModelInfo,
    OperationPhase,
    OperationView,
    QualityState,
    RequestPhase,
    RequestView,
    Snapshot,
)
from nexus_tui.safe_text import clean

NONE = "–"
"""How an unknown value looks; never 0."""
STAR = "★"

_LABEL_WIDTH = 13
_BARS = "▁▂▃▄▅▆▇"  # no full block: rows of bars would grow together
_LOW = 0.1
"""Part of a limit below which it is about to run out."""

Tone = Literal["", "strong", "muted", "accent", "good", "warn", "bad", "info"]


class Cell(NamedTuple):
    """A piece of text and what it means; `themes` turns the meaning into a colour."""

    text: str
    tone: Tone = ""


Line = tuple[Cell, ...]


class Mark(NamedTuple):
    """A state as shape, word and tone, so that no meaning hangs on colour alone."""

    glyph: str
    word: str
    tone: Tone

    @property
    def cell(self) -> Cell:
        return Cell(f"{self.glyph} {self.word}", self.tone)


STATES: dict[BackendState, Mark] = {
    BackendState.UP: Mark("●", "up", "good"),
    BackendState.DRAINING: Mark("◐", "draining", "warn"),
    BackendState.LOADING: Mark("◌", "loading", "info"),
    BackendState.DOWN: Mark("✕", "down", "bad"),
    BackendState.DISABLED: Mark("○", "disabled", "muted"),
    BackendState.UNKNOWN: Mark("?", "unknown", "muted"),
}

PHASES: dict[RequestPhase, Mark] = {
    RequestPhase.ROUTING: Mark("›", "routing", "info"),
    RequestPhase.QUEUED: Mark("≡", "queued", "warn"),
    RequestPhase.WAITING: Mark("◌", "waiting", "info"),
    RequestPhase.STREAMING: Mark("»", "streaming", "accent"),
    RequestPhase.DONE: Mark("✓", "done", "good"),
    RequestPhase.FAILED: Mark("✕", "failed", "bad"),
    RequestPhase.CANCELLED: Mark("⊘", "cancelled", "warn"),
}

QUALITY_STATES: dict[QualityState, Mark] = {
    QualityState.IN_USE: Mark("●", "in use", "good"),
    QualityState.EXCLUDED: Mark("⊘", "left out", "bad"),
    QualityState.HALF_OPEN: Mark("◐", "on trial", "warn"),
}

NEXT: dict[str, Mark] = {
    "first": Mark("▶", "next", "good"),
    "shared": Mark("▷", "one of several", "accent"),
    "other": Mark("↷", "other", "warn"),
    "nobody": Mark("✕", "nobody", "bad"),
}
"""Who would serve a model now: this backend; this or another; another model in its place; none."""

LEVELS: dict[str, Tone] = {
    "debug": "muted",
    "info": "",
    "warning": "warn",
    "error": "bad",
    "critical": "bad",
}


def duration(seconds: float | None) -> str:
    """A span of time in at most two units: `8s`, `1m 05s`, `2h 03m`, `3d 4h`."""
    if seconds is None:
        return NONE
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02}m"
    return f"{minutes}m {rest:02}s" if minutes else f"{rest}s"


def milliseconds(value: float | None) -> str:
    """Milliseconds in the unit that reads best: `0.4 ms`, `85 ms`, `1.2 s`, `2m 05s`."""
    if value is None:
        return NONE
    if value < 10:
        return f"{value:.1f} ms"
    if value < 1000:
        return f"{value:.0f} ms"
    return f"{value / 1000:.1f} s" if value < 60_000 else duration(value / 1000)


def count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    """A rate with one decimal below ten: `0.8`, `41`, `12k` for 12000."""
    if value is None:
        return NONE
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    return f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"


def tokens(value: int | None) -> str:
    """A number of tokens as people name it: `512`, `8k` for 8192, `200k` for 200000."""
    if value is None:
        return NONE
    if value < 1024:
        return str(value)
    if value % 1024 == 0:
        return f"{value // 1024}k"
    return f"{value / 1000:.1f}k" if value < 10_000 else f"{value / 1000:.0f}k"


def context(model: ModelInfo) -> str:
    """Usable context, and the trained one where it is larger: `8k of 128k`."""
    usable, trained = model.context_length, model.max_context
    if usable is None:
        return NONE if trained is None else f"{NONE} of {tokens(trained)}"
    return (
        tokens(usable)
        if not trained or trained <= usable
        else f"{tokens(usable)} of {tokens(trained)}"
    )


def capabilities(model: ModelInfo) -> str:
    """What the model can do, in the order of `Capability`: `chat tools vision`.

    Whoever can chat can complete, so that goes without saying.
    """
    can = model.can - {Capability.COMPLETIONS} if Capability.CHAT in model.can else model.can
    return " ".join(one.value for one in Capability if one in can) or NONE


def loaded(model: ModelInfo) -> Cell:
    if model.remote:
        return Cell("remote", "warn")
    if model.loaded is None:
        return Cell(NONE, "muted")
    return Cell("yes", "good") if model.loaded else Cell("no", "muted")


def operation(view: OperationView, moment: Moment) -> Cell:
    """How loading or unloading stands: `loading 12 s of ~20 s`."""
    match view.phase:
        case OperationPhase.LOADING if moment.absolute:
            return Cell(f"loading {moment.lasting(view.phase_since)}", "info")
        case OperationPhase.LOADING:
            about = "" if view.eta_seconds is None else f" of ~{max(1, round(view.eta_seconds))} s"
            return Cell(f"loading {max(0.0, moment.now - view.phase_since):.0f} s{about}", "info")
        case OperationPhase.DRAINING:
            return Cell(f"draining, {view.waits_for} left", "warn")
        case phase:
            return Cell(phase.value, "info")


def in_service(snapshot: Snapshot) -> int:
    """Requests that a backend works on, or that are on their way to one: all that run but for
    those that wait in the queue."""
    return max(0, snapshot.totals.in_flight - len(snapshot.queue))


def busy(view: BackendView) -> str:
    """Requests in flight, and the slots where they are known: `2/4`."""
    return str(view.in_flight) if view.slots is None else f"{view.in_flight}/{view.slots}"


def left(rest: int | None, limit: int | None) -> Cell:
    """What is left of a limit: `12 of 60`."""
    if rest is None or limit is None:
        return Cell("no limit", "muted")
    tone: Tone = "bad" if rest == 0 else "warn" if rest < limit * _LOW else ""
    return Cell(f"{'✕ ' if rest == 0 else ''}{rest:,} of {limit:,}", tone)


def spent(view: KeyView) -> Cell:
    """What it has spent this month, and its limit: `$4.21 of $20.00`."""
    sum_ = NONE if view.spent_usd is None else money(view.spent_usd)
    limit = view.monthly_limit_usd
    if limit is None:
        return Cell(sum_, "muted" if view.spent_usd is None else "")
    used_up = view.spent_usd is not None and view.spent_usd >= limit
    return Cell(f"{'✕ ' if used_up else ''}{sum_} of {money(limit)}", "bad" if used_up else "")


def key_zone(view: KeyView) -> str:
    """The zone that its requests stay in."""
    return "any" if view.zone is Zone.OPEN else view.zone.label


class Moment(NamedTuple):
    """The present, and how the past is told: how long ago or, where it is `absolute`, at what time
    in the user's time zone."""

    now: float
    absolute: bool = False

    def clock(self, at: float) -> str:
        """`15:06:04`; with its day where that is another: `06-12 15:06`."""
        then, today = time.localtime(at), time.localtime(self.now)
        same_day = then[:3] == today[:3]
        return time.strftime("%H:%M:%S" if same_day else "%m-%d %H:%M", then)

    def ago(self, at: float | None) -> str:
        """`3m 05s ago`, or `15:06:04`."""
        if at is None:
            return "never"
        return self.clock(at) if self.absolute else f"{duration(self.now - at)} ago"

    def age(self, at: float) -> str:
        """The same in one unit, so that it is rarely another: `8s`, `3m`, `2h`, `4d`."""
        if self.absolute:
            return self.clock(at)
        seconds = max(0, int(self.now - at))
        for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
            if seconds >= length:
                return f"{seconds // length}{unit}"
        return f"{seconds}s"

    def lasting(self, since: float) -> str:
        """How long something has been so: `for 1h 06m`, or `since 15:06:04`."""
        if self.absolute:
            return f"since {self.clock(since)}"
        return f"for {duration(self.now - since)}"

    @property
    def column(self) -> tuple[str, int]:
        """What a column of ages is called, and how wide it is."""
        return ("Time", 11) if self.absolute else ("Age", 5)


def size(value: int | None) -> str:
    """Bytes as people name model files: `4.7 GB`."""
    if value is None:
        return NONE
    return f"{value / 1e9:.1f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"


def names(values: Iterable[str], *, limit: int = 6) -> str:
    """Foreign names in a row, the first `limit` of them."""
    known = [clean(value) for value in values]
    more = f" and {len(known) - limit} more" if len(known) > limit else ""
    return ", ".join(known[:limit]) + more or NONE


def sparkline(values: Iterable[float | None], *, most: float | None = None) -> str:
    """A row of bars, one a value, from 0 to `most` (the largest, unless given); `·` for unknown."""
    known = list(values)
    top = most or max((value for value in known if value is not None), default=0.0)
    return "".join("·" if value is None else _bar(value, top) for value in known)


def _bar(value: float, top: float) -> str:
    share = min(1.0, max(0.0, value / top)) if top > 0 else 0.0
    return _BARS[round(share * (len(_BARS) - 1))]


def score(value: float | None) -> Cell:
    """A score of 0 to 100 with a word for it, so that no meaning hangs on colour alone."""
    if value is None:
        return Cell(f"{NONE} too few", "muted")
    if value >= 80:
        return Cell(f"{value:.0f} good", "good")
    return Cell(f"{value:.0f} fair", "warn") if value >= 50 else Cell(f"{value:.0f} poor", "bad")


def percent(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}%"


def field(label: str, *cells: Cell) -> Line:
    """A line of a story: what it is, and its value."""
    return (Cell(f"  {label:<{_LABEL_WIDTH}}", "muted"), *cells)


def when(label: str, at: float, moment: Moment) -> Line:
    """A line of a story for a time: by the clock, and how long ago unless times are absolute."""
    told = "" if moment.absolute else f", {moment.ago(at)}"
    return field(label, Cell(moment.clock(at)), Cell(told, "muted"))


def heading(text: str) -> Sequence[Line]:
    """The beginning of a part, set off by an empty line."""
    return ((), (Cell(text, "accent"),))


def example(snapshot: Snapshot) -> str:
    """A command that makes a request, ready to be pasted into a shell."""
    models = (one for view in snapshot.backends for one in view.models)
    chats = (one.id for one in models if Capability.CHAT not in one.cannot)
    body = {"model": next(chats, "MODEL"), "messages": [{"role": "user", "content": "Hello"}]}
    command = ["curl", f"{snapshot.endpoint}/v1/chat/completions"]
    return shlex.join([*command, "-H", "Content-Type: application/json", "-d", json.dumps(body)])


def elapsed_ms(view: RequestView, now: float) -> float | None:
    """How long it took, or has been running."""
    if view.total_ms is None and view.phase in RUNNING:
        return (now - view.started) * 1000
    return view.total_ms
