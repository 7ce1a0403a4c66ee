"""Where the time of one request went: a bar for each part of its way, on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from nexus_proxy.state import RUNNING, AttemptView, RequestPhase, RequestView
from nexus_tui.format import Cell, Line, Tone, milliseconds
from nexus_tui.safe_text import clean, fit

_LABEL, _VALUE = 14, 9
_LEAST_BAR = 10
_BAR = "█"


class Span(NamedTuple):
    """One part, in ms from the arrival of the request. `open`: it goes on."""

    label: str
    start: float
    end: float
    tone: Tone
    open: bool = False


def spans(view: RequestView, now: float) -> list[Span]:
    """The parts of a request in the order of time, as far as they were measured."""
    running = view.phase in RUNNING
    end = (now - view.started) * 1000.0 if running or view.total_ms is None else view.total_ms
    found = []
    if view.route_ms is not None:
        found.append(Span("routed", 0.0, view.route_ms, "info"))
    starts = [max(0.0, (one.started - view.started) * 1000.0) for one in view.attempts]
    if view.queued_ms is not None:
        left = starts[-1] if starts else end
        waits = view.phase is RequestPhase.QUEUED
        found.append(Span("queued", max(0.0, left - view.queued_ms), left, "warn", waits))
    elif view.phase is RequestPhase.QUEUED:
        found.append(Span("queued", view.route_ms or 0.0, end, "warn", True))
    for number, (attempt, start) in enumerate(zip(view.attempts, starts, strict=True), start=1):
        name = f"{number} " if len(view.attempts) > 1 else ""
        is_last = number == len(view.attempts)
        found += _of_attempt(attempt, name, start, end if running and is_last else None)
    return sorted(found, key=lambda span: span.start)


def _of_attempt(
    attempt: AttemptView, name: str, start: float, until: float | None
) -> Iterator[Span]:
    """`until`: it runs, and this is now."""
    end = start + attempt.total_ms if attempt.total_ms is not None else until
    connected = None if attempt.connect_ms is None else start + attempt.connect_ms
    first = None if attempt.first_token_ms is None else start + attempt.first_token_ms
    if connected is not None:
        yield Span(f"{name}connect", start, connected, "muted")
    goes_on = attempt.total_ms is None
    if attempt.error is not None and end is not None:
        yield Span(f"{name}✕ failed", first or connected or start, end, "bad")
    elif first is not None:
        yield Span(f"{name}first token", connected or start, first, "accent")
        if end is not None:
            yield Span(f"{name}stream", first, end, "good", goes_on)
    elif end is not None:
        label = "waiting" if goes_on else "answer"
        yield Span(f"{name}{label}", connected or start, end, "accent", goes_on)


def waterfall(view: RequestView, now: float, width: int) -> Sequence[Line]:
    """The parts as bars below a scale, `width` cells wide."""
    parts = spans(view, now)
    total = max((span.end for span in parts), default=0.0)
    if total <= 0:
        return ()
    room = max(_LEAST_BAR, width - _LABEL - _VALUE - 4)
    return [_scale(total, room), *(_row(span, total, room) for span in parts)]


def _scale(total: float, room: int) -> Line:
    """`0          2.0 s          4.1 s`, as wide as the bars."""
    half, whole = milliseconds(total / 2), milliseconds(total)
    left = fit("0", room // 2 - len(half) // 2)
    middle = fit(half, room - len(left) - len(whole) - 1)
    text = f"{left}{middle} {whole}" if room >= len(half) + len(whole) + 6 else fit("0", room)
    return (Cell(" " * (_LABEL + 2)), Cell(text, "muted"))


def _row(span: Span, total: float, room: int) -> Line:
    first = min(room - 1, int(span.start / total * room))
    last = max(first + 1, min(room, round(span.end / total * room)))
    bar = _BAR * (last - first - span.open) + "▸" * span.open
    return (
        Cell(f"  {fit(clean(span.label), _LABEL)}", "muted"),
        Cell(" " * first),
        Cell(bar, span.tone),
        Cell(" " * (room - last)),
        Cell(f"{milliseconds(span.end - span.start):>{_VALUE}}"),
    )
