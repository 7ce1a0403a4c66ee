"""The report: a table for people, JSON for programs."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.bench.gateways.accounts import machine_seconds, processor
from tests.bench.gateways.figures import FIGURES, Figure, Taken
from tests.bench.gateways.lineup import NEXUS, NEXUS_UI, Missing

Figures = dict[str, dict[str, dict[str, Any]]]
"""Gateway -> key -> title, unit, median, min, max, values."""
RUST_ROUTERS = ("vllm-router", "sglang-router")
BUSY_LOAD = 0.3
"""Load average per core from which the times say little."""


@dataclass
class Machine:
    """What the run ran on, and what else ran there."""

    started_at: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M %z"))
    load_average: tuple[float, float, float] = field(default_factory=os.getloadavg)
    _began: float = field(default_factory=time.monotonic)
    _busy: float = field(default_factory=machine_seconds)
    _ours: float = field(default_factory=lambda: _our_seconds())

    @property
    def loaded(self) -> bool:
        """Whether the machine was busy before the run began."""
        return self.load_average[0] > BUSY_LOAD * (os.cpu_count() or 1)

    def others_share(self) -> float:
        """The part of the machine that others took since the start, once our processes ended."""
        wall = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        others = machine_seconds() - self._busy - (_our_seconds() - self._ours)
        return max(0.0, others / wall)

    def facts(self) -> dict[str, Any]:
        """For the report, at the end of the run."""
        return {
            "date": self.started_at,
            "machine": f"{os.cpu_count()} × {processor()}, Linux {platform.release()}",
            "python": platform.python_version(),
            "load_average_before": [round(one, 2) for one in self.load_average],
            "load_average_after": [round(one, 2) for one in os.getloadavg()],
            "cpu_share_of_others": round(self.others_share(), 3),
            "run_seconds": round(time.monotonic() - self._began),
        }


def _our_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def as_data(
    facts: dict[str, Any],
    versions: dict[str, str],
    missing: Sequence[Missing],
    routing: dict[int, float],
    taken: Taken,
) -> dict[str, Any]:
    """The whole report."""
    return {
        **facts,
        "versions": versions,
        "missing": {one.name: one.why for one in missing},
        "routing_decision_us": {str(count): us for count, us in routing.items()},
        "gateways": {name: taken.summary(name) for name in taken.gateways},
        "notes": taken.notes,
    }


def as_text(report: dict[str, Any]) -> str:
    """The whole report as Markdown with aligned columns."""
    return "\n".join(_lines(report))


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"{report['date']}, {report['machine']}, Python {report['python']}"
    yield "; ".join(f"{name} {version}" for name, version in report["versions"].items())
    before, after = report["load_average_before"], report["load_average_after"]
    yield (
        f"load average {before[0]} before, {after[0]} after; others took "
        f"{report['cpu_share_of_others']:.0%} of the machine; {report['run_seconds']} s"
    )
    yield "median (lowest–highest of the rounds); CPU of direct is the mock's own"
    yield ""
    yield from _table(report["gateways"])
    yield ""
    yield from _comparisons(report["gateways"])
    decisions = " / ".join(f"{us:g}" for us in report["routing_decision_us"].values())
    counts = " / ".join(report["routing_decision_us"])
    yield f"routing alone, {counts} backends × 50 models: {decisions} µs a decision"
    yield from (f"missing: {name}: {why}" for name, why in report["missing"].items())
    yield from (f"note: {note}" for note in report["notes"])


def _table(gateways: Figures) -> Iterator[str]:
    rows = [["", *gateways]]
    for figure in filter(lambda one: one.shown, FIGURES):
        title = f"{figure.title}, {figure.unit}" if figure.unit else figure.title
        rows.append([title, *(_cell(of.get(figure.key), figure) for of in gateways.values())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    for first, *cells in rows:
        aligned = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "| " + " | ".join([first.ljust(widths[0]), *aligned]) + " |"


def _comparisons(gateways: Figures) -> Iterator[str]:
    """What the table comes to: Nexus as a multiple of others, by the medians; `nan` of those that
    were not there."""
    rust = [name for name in RUST_ROUTERS if name in gateways]
    for key, what in (("cpu_32", "CPU per request, 32 conn."), ("cpu_chunk", "CPU per chunk")):
        better = min((_median(gateways, name, key) for name in rust), default=math.nan)
        mine, nginx = _median(gateways, NEXUS, key), _median(gateways, "nginx", key)
        yield f"{what}: {mine / nginx:.2f} × nginx, {mine / better:.2f} × the better Rust router"
    rps, p99 = (
        _median(gateways, NEXUS_UI, key) / _median(gateways, NEXUS, key)
        for key in ("rps_32", "p99_32")
    )
    yield f"UI on, 32 conn.: {rps:.0%} of the throughput, {p99:.2f} × the p99"


def _median(gateways: Figures, name: str, key: str) -> float:
    median: float = gateways.get(name, {}).get(key, {}).get("median", math.nan)
    return median


def _cell(spread: dict[str, Any] | None, figure: Figure) -> str:
    if spread is None:
        return "–"
    median, least, most = (f"{spread[k]:,.{figure.digits}f}" for k in ("median", "min", "max"))
    return f"{median} ({least}–{most})" if len(spread["values"]) > 1 else median
