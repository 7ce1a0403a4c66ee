"""What is reported: every figure with its name and unit, and how rounds become one value."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.gateways.lineup import DIRECT

CONNECTIONS = (1, 32, 256)


@dataclass(frozen=True)
class Figure:
    """One row of the table, unless it is only for programs.

    `over` is the key of what it is the difference of, to the direct way, round by round.
    """

    key: str
    title: str
    unit: str
    digits: int = 0
    over: str | None = None
    shown: bool = True


FIGURES = (
    *(Figure(f"cpu_{n}", f"CPU per request, 2 KB, {n} conn.", "µs", 1) for n in CONNECTIONS),
    Figure("cpu_large", "CPU per request, 200 KB, 4 conn.", "µs"),
    Figure("cpu_huge", "CPU per request, 2 MB, 2 conn.", "µs"),
    Figure("cpu_chunk", "CPU per streamed chunk, 100 streams", "µs", 1),
    Figure("rps_32", "requests per second, 32 conn.", "1/s"),
    Figure("rps_256", "requests per second, 256 conn.", "1/s"),
    *(
        Figure(f"added_{p}_{n}", f"added latency {p}, {n} conn.", "µs", over=f"{p}_{n}")
        for n in CONNECTIONS
        for p in ("p50", "p99")
    ),
    *(
        Figure(f"{p}_{n}", f"latency {p}, {n} conn.", "µs", shown=False)
        for n in CONNECTIONS
        for p in ("p50", "p99")
    ),
    Figure("first_p50", "first-token time p50, half load", "µs", shown=False),
    Figure("first_p99", "first-token time p99, half load", "µs", shown=False),
    Figure("half_load", "streams begun per second at half load", "1/s"),
    Figure("added_first_p50", "added first-token time p50, half load", "µs", over="first_p50"),
    Figure("added_first_p99", "added first-token time p99, half load", "µs", over="first_p99"),
    Figure("lag_p50", "relay lag p50, 100 streams", "µs"),
    Figure("lag_p99", "relay lag p99, 100 streams", "µs"),
    Figure("stream_kb", "memory per stream, 1,000 open", "KB", 1),
    Figure("start", "start to first answer", "s", 2),
    Figure("rss_idle", "RSS, idle", "MB", 1),
    Figure("rss_after", "RSS after the long run", "MB", 1),
    Figure("long_run", "requests of the long run", ""),
    Figure("rss_slope", "RSS slope over its second half", "B/req", 1),
)


@dataclass
class Taken:
    """All that was measured of `gateways`: gateway -> key -> round -> value.

    What failed is not in it, but among the `notes`.
    """

    gateways: Sequence[str]
    samples: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    round: int = 0

    def add(self, gateway: str, **values: float) -> None:
        """Take values of this round."""
        of = self.samples.setdefault(gateway, {})
        for key, value in values.items():
            of.setdefault(key, {})[self.round] = value

    def note(self, text: str) -> None:
        """Take a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def values(self, gateway: str, figure: Figure) -> list[float]:
        """A figure's values, for the rounds that have one."""
        rounds = self.samples.get(gateway, {}).get(figure.over or figure.key, {})
        if figure.over is None:
            return list(rounds.values())
        if gateway == DIRECT:
            return []
        direct = self.samples.get(DIRECT, {}).get(figure.over, {})
        return [rounds[n] - direct[n] for n in rounds if n in direct]

    def summary(self, gateway: str) -> dict[str, dict[str, Any]]:
        """Key -> title, unit, median, min, max and values, for what this gateway has."""
        return {
            figure.key: {
                "title": figure.title,
                "unit": figure.unit,
                "median": statistics.median(values),
                "min": min(values),
                "max": max(values),
                "values": values,
            }
            for figure in FIGURES
            if (values := self.values(gateway, figure))
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that `percent` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
