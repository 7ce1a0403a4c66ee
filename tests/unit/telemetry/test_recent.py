from __future__ import annotations

from nexus_proxy.telemetry.recent import PARTS, SECONDS, Recent


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def note(recent: Recent, *, in_flight: int = 0, peak: int = 0, **changes: int) -> None:
    counts = {"requests": 0, "failures": 0, "tokens": 0, **changes}
    recent.note(**counts, first_tokens_ms=(), in_flight=in_flight, peak=peak)


def test_each_part_holds_what_happened_in_it() -> None:
    clock = Clock()
    recent = Recent(clock)
    recent.note(
        requests=2, failures=1, tokens=30, first_tokens_ms=(100.0, 300.0), in_flight=1, peak=2
    )
    clock.now += SECONDS
    note(recent, requests=1, tokens=5, in_flight=1, peak=1)
    trend = recent.trend()
    assert (trend.requests, trend.failures, trend.tokens) == ((2, 1), (1, 0), (30, 5))
    assert trend.first_token_ms == (200.0, None)
    assert trend.in_flight == (2, 1)


def test_what_runs_on_is_in_flight_although_nothing_happens() -> None:
    clock = Clock()
    recent = Recent(clock)
    note(recent, requests=3, in_flight=3, peak=3)
    clock.now += 3 * SECONDS
    assert recent.trend().in_flight == (3, 3, 3, 3)
    note(recent, in_flight=0, peak=3)
    clock.now += SECONDS
    assert recent.trend().in_flight == (3, 3, 3, 3, 0)


def test_only_the_last_minutes_are_kept_however_long_it_slept() -> None:
    clock = Clock()
    recent = Recent(clock)
    note(recent, requests=7)
    clock.now += 10_000 * SECONDS
    trend = recent.trend()
    assert len(trend.requests) == PARTS
    assert sum(trend.requests) == 0
