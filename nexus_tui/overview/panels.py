"""What the panels of the overview say. Each is lines for a width and at most so many rows."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, TypeVar

from nexus_proxy.accounting.money import money
from nexus_proxy.state import (
    RUNNING,
    BackendState,
    BackendView,
    BudgetLevel,
    BudgetStanding,
    LogLine,
    RequestPhase,
    RequestView,
    Trend,
)
from nexus_proxy.telemetry.request_log import COMPONENT as REQUEST_LOG
from nexus_proxy.wording import plural
from nexus_tui.format import (
    LEVELS,
    NONE,
    PHASES,
    STATES,
    Cell,
    Line,
    Moment,
    Tone,
    busy,
    count,
    elapsed_ms,
    example,
    in_service,
    milliseconds,
    rate,
)
from nexus_tui.overview.drawing import bars, grouped, meter, padded, said, shortened, tabulated
from nexus_tui.safe_text import clean
from nexus_tui.widgets.columns import Column

if TYPE_CHECKING:
    from nexus_proxy.state import Snapshot

T = TypeVar("T")

RECENT_SECONDS = 300.0
"""What counts as just now: as long as the trend is."""
LOOKED_AT = 500
"""Newest requests among which the last failure is looked for, four times a second."""
_LABEL, _VALUE = 11, 9
_SCALE = 7
BESIDE_CHARTS = _LABEL + _VALUE + _SCALE + 4
"""Cells: what it is, what it is now, and what the tallest bar is."""
_LEAST_SECONDS = 120.0
"""How far back charts go at least."""
HEADED = 5
"""Lines from which on a table says what its columns are called."""
_METER = 8
_WIDEST_METER = 40

_LEVELS: dict[BudgetLevel, Tone] = {
    BudgetLevel.OK: "good",
    BudgetLevel.SOFT: "warn",
    BudgetLevel.HARD: "bad",
}
_ORDER = (
    BackendState.DOWN,
    BackendState.UP,
    BackendState.LOADING,
    BackendState.DRAINING,
    BackendState.UNKNOWN,
    BackendState.DISABLED,
)

_BACKENDS: Sequence[Column[BackendView]] = (
    Column(title="State", width=10),
    Column(title="Backend", width=12, grow=True),
    Column(title="In use", width=_METER, priority=1),
    Column(title="Busy", width=5, right=True),
    Column(title="1st token", width=9, right=True, priority=2),
    Column(title="Speed", width=9, right=True, priority=3),
)
_REQUESTS: Sequence[Column[RequestView]] = (
    Column(title="Phase", width=11),
    Column(title="Model", width=12, grow=True),
    Column(title="Backend", width=10, priority=1),
    Column(title="Time", width=7, right=True),
    Column(title="Tokens", width=9, right=True, priority=2),
    Column(title="When", width=11, right=True, priority=3),
)
_MODELS: Sequence[Column[object]] = (
    Column(title="Model", width=14, grow=True),
    Column(title="", width=10, priority=2),
    Column(title="Requests", width=8, right=True),
    Column(title="Tokens", width=11, right=True, priority=1),
    Column(title="1st token", width=9, right=True, priority=3),
)


_MESSAGE: Column[LogLine] = Column(title="Message", width=20, grow=True)


def address(snapshot: Snapshot, width: int) -> Line:
    """Where clients are pointed at."""
    here = (Cell(" "), Cell(clean(snapshot.endpoint), "strong"), Cell("  e", "accent"))
    more = "  copies it; point OpenAI, Anthropic and Ollama clients at it, with or without /v1"
    return padded((*here, Cell(more, "muted")), width)


def troubles(snapshot: Snapshot) -> list[Line]:
    """What is wrong now, worst first; nothing: all is well."""
    lines = [said(f"▲ {clean(problem)}", "bad") for problem in snapshot.problems]
    failed = sum(snapshot.trend.failures)
    if failed:
        newest = islice(snapshot.requests, LOOKED_AT)
        last = next((one for one in newest if one.phase is RequestPhase.FAILED), None)
        why = f"; the last: {clean(last.error)}" if last is not None and last.error else ""
        text = f"▲ {plural(failed, 'request')} failed in the last 5 minutes{why}"
        lines.append((Cell(text, "warn"), Cell("  4 shows them", "muted")))
    if snapshot.queue:
        waiting = f"≡ {plural(len(snapshot.queue), 'request')} in the queue"
        lines.append((Cell(waiting, "warn"), Cell("  5 shows what for", "muted")))
    return lines


def window(trend: Trend, width: int) -> tuple[int, float]:
    """How many parts a column of a chart stands for, so that it goes back for two minutes at
    least, and how far it goes back, in minutes."""
    columns = max(1, width - BESIDE_CHARTS)
    size = math.ceil(_LEAST_SECONDS / trend.seconds / columns)
    return size, min(columns * size * trend.seconds, RECENT_SECONDS) / 60.0


def traffic(snapshot: Snapshot, width: int, height: int, _moment: Moment) -> list[Line]:
    """Charts of what goes on, as tall as there is room for, and what it costs."""
    trend, totals = snapshot.trend, snapshot.totals
    spend = spending(snapshot.budget, width)
    tall = max(1, (height - len(spend)) // 4)
    size, _ = window(trend, width)
    number, per_second = trend.number, 1.0 / (trend.seconds * size)
    came = grouped(trend.requests, size, number, sum)
    failed = grouped(trend.failures, size, number, sum)
    running = grouped(trend.in_flight, size, number, max)
    written = grouped(trend.tokens, size, number, sum)
    first = grouped(trend.first_token_ms, size, number, _mean)
    last = next((ms for ms in reversed(trend.first_token_ms) if ms is not None), None)
    charts = (
        ("Requests/s", rate(totals.requests_per_second), came, lambda n: rate(n * per_second)),
        ("In flight", in_flight(snapshot), running, str),
        ("Tokens/s", rate(totals.tokens_per_second), written, lambda n: rate(n * per_second)),
        ("1st token", milliseconds(last), first, milliseconds),
    )
    lines: list[Line] = []
    for label, value, series, scale in charts:
        lines += _chart(label, value, series, scale, failed if series is came else (), width, tall)
    return [*lines, *spend]


def in_flight(snapshot: Snapshot) -> str:
    """What runs, of the slots there are: `2 of 4`. What waits for a slot holds none."""
    up = [view for view in snapshot.backends if view.state is BackendState.UP]
    slots = [view.slots for view in up if view.slots is not None]
    if not slots or len(slots) < len(up):
        return str(in_service(snapshot))
    return f"{sum(view.in_flight for view in up)} of {sum(slots)}"


def _chart(
    label: str,
    value: str,
    series: Sequence[float | None],
    scale: Callable[[Any], str],
    failures: Sequence[int],
    width: int,
    height: int,
) -> Iterator[Line]:
    room = width - BESIDE_CHARTS
    most = max((one for one in series[-room:] if one), default=None) if room > 0 else None
    for number, row in enumerate(bars(series, room, height)):
        left, now, top = (label, value, scale(most) if most else "") if number == 0 else ("",) * 3
        head = (Cell(f"{left:<{_LABEL}}", "muted"), Cell(f"{now:>{_VALUE}}  ", "strong"))
        yield (*head, *_painted(row, failures), Cell(f"  {top:>{_SCALE}}", "muted"))


def _painted(row: str, failures: Sequence[int]) -> Iterator[Cell]:
    """The bars, those with failures in them in another tone."""
    if not any(failures):
        yield Cell(row, "info")
        return
    failed = [False] * len(row)
    for place, number in enumerate(reversed(failures[-len(row) :] if row else ())):
        failed[-1 - place] = number > 0
    for is_failed, part in groupby(zip(row, failed, strict=True), key=lambda pair: pair[1]):
        yield Cell("".join(character for character, _ in part), "bad" if is_failed else "info")


def spending(budget: BudgetStanding | None, width: int) -> list[Line]:
    """The month's spend against its limit; nothing where nothing costs anything."""
    if budget is None or (budget.limit_usd is None and budget.spent_usd == 0):
        return []
    used = budget.spent_usd + budget.reserved_usd
    unknown = f", {budget.unknown_requests} of unknown price" if budget.unknown_requests else ""
    head = (Cell(f"{'Spend':<{_LABEL}}", "muted"), Cell(f"{money(used):>{_VALUE}}", "strong"))
    if budget.limit_usd is None:
        return [(*head, Cell(f"  in {budget.month}{unknown}", "muted"))]
    share = used / budget.limit_usd if budget.limit_usd else 1.0
    tone = _LEVELS[budget.level]
    limit, rest = f"  of {money(budget.limit_usd)}  ", f" {share:.0%}{unknown}"
    room = max(0, min(_WIDEST_METER, width - _LABEL - _VALUE - len(limit) - len(rest)))
    return [(*head, Cell(limit, "muted"), Cell(meter(share, room), tone), Cell(rest, tone))]


def backends(snapshot: Snapshot, width: int, height: int, _moment: Moment) -> list[Line]:
    """Who is up and how busy, a line each; what is down comes first."""
    if height < min(2, len(snapshot.backends)):
        return [_counted(snapshot)]
    views = sorted(snapshot.backends, key=lambda view: _ORDER.index(view.state))
    rows = [_backend(view) for view in views[: height + 1]]
    return _table(_BACKENDS, rows, len(views), width, height, "2 shows all")


def _counted(snapshot: Snapshot) -> Line:
    """How many there are of each state, where there is only one line for all."""
    counts = Counter(view.state for view in snapshot.backends)
    marks = ((STATES[state], counts[state]) for state in _ORDER if counts[state])
    return tuple(Cell(f"{mark.glyph} {number} {mark.word}   ", mark.tone) for mark, number in marks)


def _backend(view: BackendView) -> Sequence[Cell]:
    well = view.state is BackendState.UP
    figures: Tone = "" if well else "muted"
    share = view.in_flight / view.slots if view.slots else 0.0
    bar = meter(share, _METER) if view.slots else ""
    speed = NONE if view.tokens_per_second is None else f"{rate(view.tokens_per_second)} tok/s"
    return (
        STATES[view.state].cell,
        Cell(clean(view.name), "strong" if well else ""),
        Cell(bar, "warn" if share >= 1 else "accent" if view.in_flight else "muted"),
        Cell(busy(view), "accent" if view.in_flight else figures),
        Cell(milliseconds(view.first_token_ms), figures),
        Cell(speed, figures),
    )


def requests(snapshot: Snapshot, width: int, height: int, moment: Moment) -> list[Line]:
    """What runs now, then what ran last."""
    if not snapshot.requests:
        return _first_request(snapshot, width)
    running = sum(one.phase in RUNNING for one in snapshot.requests[: snapshot.totals.in_flight])
    rows = [_request(one, moment) for one in snapshot.requests[:height]]
    return _table(_REQUESTS, rows, running, width, height, "4 shows all")


def _request(view: RequestView, moment: Moment) -> Sequence[Cell]:
    running = view.phase in RUNNING
    written = view.completion_tokens
    when = "" if running else moment.ago(view.started + (view.total_ms or 0.0) / 1000.0)
    return (
        PHASES[view.phase].cell,
        Cell(clean(view.model or view.model_asked), "strong" if running else ""),
        Cell(clean(view.backend or NONE), "" if running else "muted"),
        Cell(milliseconds(elapsed_ms(view, moment.now)), "accent" if running else "muted"),
        Cell(NONE if written is None else f"{written:,} tok", "" if running else "muted"),
        Cell(when, "muted"),
    )


def _first_request(snapshot: Snapshot, width: int) -> list[Line]:
    command = textwrap.wrap(clean(example(snapshot)), max(20, width - 4), break_on_hyphens=False)
    return [
        said("No requests yet. Point a client here, or in another terminal:"),
        *(said(f"  {part}", "info") for part in command),
    ]


def models(snapshot: Snapshot, width: int, height: int, _moment: Moment) -> list[Line]:
    """What was asked for most in the last minutes."""
    asked: Counter[str] = Counter()
    written: Counter[str] = Counter()
    first: dict[str, list[float]] = {}
    for view in snapshot.requests:
        if snapshot.taken_at - view.started > RECENT_SECONDS:
            break
        model = view.model or view.model_asked
        asked[model] += 1
        written[model] += view.completion_tokens or 0
        if view.first_token_ms is not None:
            first.setdefault(model, []).append(view.first_token_ms)
    if not asked:
        known = {model.id for view in snapshot.backends for model in view.models}
        return [
            said("No requests in the last 5 minutes.", "muted"),
            (
                Cell(f"{plural(len(known), 'model')} to choose from"),
                Cell(": 3 lists them", "muted"),
            ),
        ]
    most = max(asked.values())
    rows = [
        (
            Cell(clean(model), "strong"),
            Cell(meter(number / most, 10), "info"),
            Cell(f"{number:,}"),
            Cell(f"{count(written[model])} tok", "muted"),
            Cell(milliseconds(_mean(first.get(model, ()))), "muted"),
        )
        for model, number in asked.most_common(height + 1)
    ]
    return _table(_MODELS, rows, len(asked), width, height, "3 shows all")


def logs(snapshot: Snapshot, width: int, height: int, moment: Moment) -> list[Line]:
    """The end of the log, but for what only who looks for a fault wants to know, and for requests
    that went well: they are told beside it."""
    told = (one for one in reversed(snapshot.logs) if _is_news(one))
    newest = [*islice(told, max(0, height))]
    if not newest:
        return [said("Nothing to tell yet.", "muted")]
    title, size = moment.column
    columns = (Column[LogLine](title=title, width=size, right=True), _MESSAGE)
    rows = [
        (
            Cell(moment.age(one.at), "muted"),
            Cell(clean(one.message), LEVELS.get(one.level.lower(), "")),
        )
        for one in reversed(newest)
    ]
    return tabulated(columns, rows, width)


def _is_news(line: LogLine) -> bool:
    level = line.level.lower()
    return level != "debug" and (line.component != REQUEST_LOG or level != "info")


def _table(
    columns: Sequence[Column[T]],
    rows: Sequence[Sequence[Cell]],
    total: int,
    width: int,
    height: int,
    more: str,
) -> list[Line]:
    """The first of `total` rows, below what their columns are called where there is room."""
    head = [[Cell(column.title, "muted") for column in columns]] if height >= HEADED else []
    lines = tabulated(columns, [*head, *rows], width)
    missing: list[Line] = [()] * (total + len(head) - len(lines))
    return shortened([*lines, *missing], height, more) if missing else lines[:height]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
