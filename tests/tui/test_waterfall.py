"""The clocks of a request as bars on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.state import AttemptView, RequestPhase, RequestView
from nexus_tui.format import Line, Moment
from nexus_tui.overview.drawing import length
from nexus_tui.screens.request_detail import request_story
from nexus_tui.waterfall import spans, waterfall
from tests.support.sample_policies import NOW
from tests.support.sample_snapshot import request, requests, snapshot
from tests.tui.looking import looking
from tests.tui.scripted import ScriptedSource

START = NOW - 10.0


def attempt(backend: str, after: float, **changes: Any) -> AttemptView:
    view = AttemptView(
        backend=backend,
        model="m",
        started=START + after,
        connect_ms=100.0,
        first_token_ms=1_000.0,
        total_ms=3_000.0,
        error=None,
    )
    return msgspec.structs.replace(view, **changes)


def served(*attempts: AttemptView, **changes: Any) -> RequestView:
    return request(started=START, route_ms=50.0, total_ms=9_000.0, attempts=attempts, **changes)


def parts(view: RequestView) -> list[tuple[str, int, int]]:
    return [(span.label, round(span.start), round(span.end)) for span in spans(view, NOW)]


def test_one_attempt_is_connect_first_token_and_stream() -> None:
    assert parts(served(attempt("box", 0.05))) == [
        ("routed", 0, 50),
        ("connect", 50, 150),
        ("first token", 150, 1_050),
        ("stream", 1_050, 3_050),
    ]


def test_a_wait_in_the_queue_comes_before_the_attempt_that_it_was_for() -> None:
    told = parts(served(attempt("box", 4.0), queued_ms=3_900.0))
    assert told[1] == ("queued", 100, 4_000)


def test_each_attempt_has_its_number_and_the_failed_ones_a_mark() -> None:
    failed = attempt("gone", 0.1, first_token_ms=None, total_ms=500.0, error="closed")
    told = parts(served(failed, attempt("box", 1.0)))
    assert ("1 ✕ failed", 200, 600) in told
    assert ("2 stream", 2_000, 4_000) in told


def test_what_runs_ends_now_and_says_that_it_goes_on() -> None:
    view = served(attempt("box", 0.05, total_ms=None), phase=RequestPhase.STREAMING)
    last = spans(msgspec.structs.replace(view, total_ms=None), NOW)[-1]
    assert (last.label, round(last.end), last.open) == ("stream", 10_000, True)


@given(st.sampled_from(requests()), st.integers(0, 300))
def test_any_request_fits_any_width_and_has_a_scale_with_units(
    view: RequestView, width: int
) -> None:
    lines = waterfall(view, NOW, width)
    assert all(length(line) <= max(width, 37) for line in lines)
    assert not lines or any(unit in lines[0][1].text for unit in ("s", "0"))


@pytest.mark.parametrize(("backend", "status"), [(None, 404), ("cloud", 402)])
def test_what_failed_did_not_run_on_your_own_machines(backend: str | None, status: int) -> None:
    failed = request(backend=backend, status=status, phase=RequestPhase.FAILED, cost_source="n/a")
    told = ["".join(cell.text for cell in line) for line in request_story(failed, Moment(NOW), 80)]
    (cost,) = [line for line in told if line.lstrip().startswith("cost")]
    assert cost.split() == ["cost", "nothing"]


async def test_the_detail_fits_from_the_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []

    def told(view: RequestView, moment: Moment, width: int) -> Sequence[Line]:
        widths.append(width)
        return request_story(view, moment, width)

    monkeypatch.setattr("nexus_tui.screens.request_detail.request_story", told)
    source = ScriptedSource(snapshot(requests=(request(),)))
    async with looking(source, size=(80, 24), tab="requests") as look:
        await look.press("enter")
        await look.sees("Clocks")
    assert {*widths} == {75}


async def test_the_detail_shows_it_live() -> None:
    running = served(attempt("box", 0.05, total_ms=None), phase=RequestPhase.STREAMING)
    source = ScriptedSource(snapshot(requests=(msgspec.structs.replace(running, total_ms=None),)))
    async with looking(source, size=(110, 50), tab="requests") as look:
        await look.press("enter")
        await look.sees("Clocks", "first token", "▸", "so far")
