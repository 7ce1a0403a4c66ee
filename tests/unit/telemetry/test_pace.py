"""What backends did lately, in parts of time."""

from __future__ import annotations

from nexus_proxy.telemetry.history import Attempt, Record
from nexus_proxy.telemetry.pace import PARTS, SECONDS, Pace


class Clock:
    now = 1_750_000_000.0 // SECONDS * SECONDS

    def __call__(self) -> float:
        return self.now


def ended(backend: str | None = "a", first_ms: float | None = None, tokens: int = 0) -> Record:
    tries = [Attempt(backend or "x", "m", 0.0, 0.0, first_token_ms=first_ms)]
    return Record(
        id="id",
        endpoint="chat",
        client="127.0.0.1",
        started=0.0,
        clock=0.0,
        backend=backend,
        completion_tokens=tokens,
        attempts=tries,
    )


def test_requests_count_in_the_part_in_which_they_end() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    pace([ended(first_ms=100.0, tokens=SECONDS), ended(first_ms=300.0), ended(backend=None)])
    clock.now += 2 * SECONDS
    pace([ended(tokens=SECONDS * 2)])
    trend = pace.trends()["a"]
    assert list(pace.trends()) == ["a"]
    assert trend.requests[-3:] == (2, 0, 1)
    assert trend.first_token_ms[-3:] == (200.0, None, None)
    assert trend.tokens_per_second[-3:] == (1.0, 0.0, 2.0)
    assert len(trend.requests) == len(trend.first_token_ms) == PARTS
    assert sum(trend.requests) == 3


def test_a_backend_that_is_idle_is_forgotten_and_so_is_the_future() -> None:
    clock = Clock()
    pace = Pace(clock=clock)
    pace([ended("a")])
    clock.now += (PARTS - 1) * SECONDS
    pace([ended("b")])
    assert pace.trends().keys() == {"a", "b"}
    clock.now += SECONDS
    assert pace.trends().keys() == {"b"}
    clock.now -= 3600
    assert not pace.trends()


def test_what_was_told_is_told_again_until_something_ends() -> None:
    pace = Pace(clock=Clock())
    pace([ended("a"), ended("b")])
    before = pace.trends()
    pace([ended("b")])
    assert pace.trends()["a"] is before["a"]
    assert pace.trends()["b"].requests[-1] == 2
    assert before["b"].requests[-1] == 1
