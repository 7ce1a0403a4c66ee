"""The measures: what is done to a gateway, and which figures come of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import structs

from tests.bench.gateways import payloads
from tests.bench.gateways.accounts import rss_bytes
from tests.bench.gateways.figures import CONNECTIONS, Taken, percentile
from tests.bench.gateways.jobs import Job, Result
from tests.bench.gateways.lineup import DIRECT, Gateway
from tests.bench.gateways.processes import Load

STREAMS = 100
OPEN_STREAMS = 1000
PAUSE_MS = 20
"""Between two chunks of a stream: 50 tokens a second."""
DIRECT_RATE = 200.0
"""Streams a second that "no load" stands for, when first-token times are compared."""
MOST_ERRORS = 0.01
"""Share of failed requests beyond which a gateway has no figure."""
SETTLE_SECONDS = 1.0
HELD_SECONDS = 20.0
LOOKS = 10
"""At the memory, in the long run."""


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Attributes:
        rounds: in each, every measure of every running gateway, in random order.
        starts: how often each gateway is started afresh, for its memory and start time.
        requests: of a measure with small requests.
        seconds: the longest that one measure may load.
        long_run: requests of the run that shows whether memory grows.
        long_seconds: the longest it may take.
    """

    rounds: int
    starts: int
    requests: int
    large: int
    huge: int
    chunks: int
    seconds: float
    long_run: int
    long_seconds: float


FULL = Plan(
    rounds=5,
    starts=3,
    requests=4000,
    large=300,
    huge=40,
    chunks=100,
    seconds=2.5,
    long_run=100_000,
    long_seconds=30.0,
)
QUICK = Plan(
    rounds=1,
    starts=1,
    requests=1000,
    large=60,
    huge=10,
    chunks=50,
    seconds=0.8,
    long_run=4000,
    long_seconds=2.0,
)

Measure = Callable[[Gateway], None]


class Bench:
    """Measures gateways with the load, and keeps what comes of it in `taken`."""

    def __init__(self, load: Load, plan: Plan, taken: Taken) -> None:
        self._load = load
        self._plan = plan
        self._taken = taken

    def round(self, gateways: Sequence[Gateway]) -> None:
        """Every measure once, in random order; gateways in random order within each."""
        measures: list[Measure] = [
            *(self._requests(count) for count in CONNECTIONS),
            self._large,
            self._huge,
            self._streams,
            self._first_tokens,
        ]
        for measure in random.sample(measures, len(measures)):
            for gateway in random.sample(gateways, len(gateways)):
                measure(gateway)

    def life(self, gateway: Gateway, *, long: bool) -> None:
        """What needs a gateway that has just started: its memory and start time."""
        time.sleep(SETTLE_SECONDS)
        self._taken.add(
            gateway.name, start=gateway.start_seconds, rss_idle=rss_bytes(gateway.pid) / 2**20
        )
        self._open_streams(gateway)
        if long:
            self._long_run(gateway)

    def _requests(self, connections: int) -> Measure:
        def measure(gateway: Gateway) -> None:
            job = self._job(gateway, connections=connections, requests=self._plan.requests)
            if (done := self._do(gateway, job, f"{connections} connections")) is None:
                return
            result, cpu = done
            self._taken.add(
                gateway.name,
                **{
                    f"cpu_{connections}": cpu / result.completed,
                    f"rps_{connections}": result.completed / result.seconds,
                    f"p50_{connections}": percentile(result.latencies, 50),
                    f"p99_{connections}": percentile(result.latencies, 99),
                },
            )

        return measure

    def _large(self, gateway: Gateway) -> None:
        plan = self._plan
        job = self._job(gateway, connections=4, requests=plan.large, body=payloads.LARGE)
        if done := self._do(gateway, job, "200 KB prompts"):
            self._taken.add(gateway.name, cpu_large=done[1] / done[0].completed)

    def _huge(self, gateway: Gateway) -> None:
        plan = self._plan
        job = self._job(gateway, connections=2, requests=plan.huge, body=payloads.HUGE)
        if done := self._do(gateway, job, "2 MB prompts"):
            self._taken.add(gateway.name, cpu_huge=done[1] / done[0].completed)

    def _streams(self, gateway: Gateway) -> None:
        job = self._job(
            gateway,
            connections=STREAMS,
            requests=STREAMS,
            chunks=self._plan.chunks,
            pause_ms=PAUSE_MS,
            warm=0,
            seconds=self._plan.chunks * PAUSE_MS / 1000,
        )
        if done := self._do(gateway, job, f"{STREAMS} streams"):
            result, cpu = done
            self._taken.add(
                gateway.name,
                cpu_chunk=cpu / len(result.lags),
                lag_p50=percentile(result.lags, 50),
                lag_p99=percentile(result.lags, 99),
            )

    def _first_tokens(self, gateway: Gateway) -> None:
        """Short streams, at half the rate that the gateway can do; for the direct way, at a rate
        that is no load."""
        plan = self._plan
        short = self._job(gateway, connections=32, requests=plan.requests, chunks=4)
        rate = DIRECT_RATE
        if gateway.name != DIRECT:
            if (done := self._do(gateway, short, "short streams")) is None:
                return
            rate = done[0].completed / done[0].seconds / 2
            self._taken.add(gateway.name, half_load=rate)
        paced = structs.replace(short, requests=int(rate * plan.seconds), rate=rate)
        if done := self._do(gateway, paced, "half load"):
            self._taken.add(
                gateway.name,
                first_p50=percentile(done[0].first, 50),
                first_p99=percentile(done[0].first, 99),
            )

    def _open_streams(self, gateway: Gateway) -> None:
        """The memory of many streams that are open, over that of the gateway when it is warm."""
        warm = self._job(gateway, connections=32, requests=500)
        if self._do(gateway, warm, "warming up") is None:
            return
        before = rss_bytes(gateway.pid)
        held = self._job(
            gateway,
            connections=OPEN_STREAMS,
            requests=OPEN_STREAMS,
            chunks=60,
            pause_ms=1000,
            warm=0,
            seconds=HELD_SECONDS,
            hold=True,
        )
        result, after = self._load.hold(held, lambda: rss_bytes(gateway.pid))
        if result.errors or len(result.first) < OPEN_STREAMS:
            self._failed(gateway, f"{OPEN_STREAMS} streams", result)
            return
        self._taken.add(gateway.name, stream_kb=(after - before) / OPEN_STREAMS / 1000)

    def _long_run(self, gateway: Gateway) -> None:
        """Whether memory grows: many requests, looked at ten times."""
        plan = self._plan
        job = self._job(
            gateway,
            connections=32,
            requests=plan.long_run // LOOKS,
            seconds=plan.long_seconds / LOOKS,
        )
        asked, memory = [0], [rss_bytes(gateway.pid)]
        for _ in range(LOOKS):
            if (done := self._do(gateway, job, "the long run")) is None:
                return
            asked.append(asked[-1] + done[0].completed)
            memory.append(rss_bytes(gateway.pid))
        half = LOOKS // 2
        self._taken.add(
            gateway.name,
            rss_after=memory[-1] / 2**20,
            long_run=asked[-1],
            rss_slope=(memory[-1] - memory[half]) / (asked[-1] - asked[half]),
        )

    def _job(self, gateway: Gateway, **what: Any) -> Job:
        return Job(
            port=gateway.port, exact=gateway.exact, **{"seconds": self._plan.seconds, **what}
        )

    def _do(self, gateway: Gateway, job: Job, what: str) -> tuple[Result, float] | None:
        """Do a job. Returns its result and the gateway's CPU in µs, or None if it failed."""
        result, cpu = self._load.run(job, gateway.pid)
        asked = result.completed + sum(result.errors.values())
        if not result.completed or asked - result.completed > MOST_ERRORS * asked:
            self._failed(gateway, what, result)
            return None
        if result.errors:
            self._taken.note(f"{gateway.name}, {what}: {_told(result)}")
        return result, cpu * 1e6

    def _failed(self, gateway: Gateway, what: str, result: Result) -> None:
        self._taken.note(f"{gateway.name}, {what}: no figure: {_told(result)}")


def _told(result: Result) -> str:
    errors = ", ".join(f"{count} × {why}" for why, count in result.errors.items())
    return f"{errors or 'nothing came'}; {result.completed} answered well"
