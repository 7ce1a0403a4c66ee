"""What happened lately: counts in buckets of time, in bounded memory, O(1) for each request.

Buckets are numbered by wall-clock time, since they outlive the process. A clock that is set back
leaves buckets in the future: they are dropped, as nobody can tell when they happened.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from nexus_proxy.state import QualityWindow

MINUTE, QUARTER = 60, 900
"""Widths of buckets, in seconds."""
HOUR_BUCKETS, DAY_BUCKETS = 60, 96

BOUNDS = (
    *(10.0, 20.0, 50.0, 100.0, 200.0, 300.0, 500.0, 750.0, 1_000.0, 1_500.0, 2_000.0, 3_000.0),
    *(5_000.0, 7_500.0, 10_000.0, 20_000.0, 30_000.0, 60_000.0, 120_000.0, 300_000.0, 600_000.0),
)
"""Upper bounds of the bins of first-token time, in milliseconds: from a cached prompt to the
longest patience. Bins lie a factor of 1.3 to 2.5 apart, which bounds the error of a quantile."""
BINS = len(BOUNDS) + 1


class Bucket:
    """Counts over some span of time. `faults` are the backend's own; `cuts`, the streams among
    them that broke after their first byte. Times and rates are those of good answers only: how
    fast a failure came is no merit."""

    __slots__ = (
        "changed",
        "cuts",
        "faults",
        "first_sum",
        "firsts",
        "rate_sum",
        "rates",
        "requests",
    )

    def __init__(self) -> None:
        self.requests = self.faults = self.cuts = 0
        self.firsts: list[int] | None = None
        """First-token times by bin; None while there is none."""
        self.first_sum = 0.0
        self.rates = 0
        self.rate_sum = 0.0
        self.changed = False
        """Since it was last saved."""

    def served(self, first_token_ms: float | None, tokens_per_second: float | None) -> None:
        """One good answer."""
        self.requests += 1
        self.changed = True
        if first_token_ms is not None:
            if self.firsts is None:
                self.firsts = [0] * BINS
            self.firsts[bisect_left(BOUNDS, first_token_ms)] += 1
            self.first_sum += first_token_ms
        if tokens_per_second is not None:
            self.rates += 1
            self.rate_sum += tokens_per_second

    def failed(self, *, cut: bool) -> None:
        """One fault of the backend."""
        self.requests += 1
        self.faults += 1
        self.cuts += cut
        self.changed = True

    def add(self, other: Bucket) -> None:
        """Take in what another bucket counted."""
        self.requests += other.requests
        self.faults += other.faults
        self.cuts += other.cuts
        self.first_sum += other.first_sum
        self.rates += other.rates
        self.rate_sum += other.rate_sum
        if other.firsts is not None:
            mine = self.firsts or [0] * BINS
            self.firsts = [a + b for a, b in zip(mine, other.firsts, strict=True)]

    def view(self) -> QualityWindow:
        """As a frozen value."""
        firsts = self.firsts or ()
        count = sum(firsts)
        return QualityWindow(
            requests=self.requests,
            faults=self.faults,
            cuts=self.cuts,
            first_token_ms=self.first_sum / count if count else None,
            first_token_p50_ms=quantile(firsts, 0.5),
            first_token_p95_ms=quantile(firsts, 0.95),
            tokens_per_second=self.rate_sum / self.rates if self.rates else None,
        )


class Window:
    """The last `count` buckets of `width` seconds, the running one among them."""

    __slots__ = ("_buckets", "_count", "_current", "_number", "width")

    def __init__(self, width: int, count: int) -> None:
        self.width = width
        self._count = count
        self._buckets: dict[int, Bucket] = {}
        self._number = -1
        self._current = Bucket()

    def at(self, now: float) -> Bucket:
        """The bucket of this moment."""
        number = int(now // self.width)
        if number != self._number:
            self._forget(number)
            self._number = number
            self._current = self._buckets.setdefault(number, Bucket())
        return self._current

    def put(self, start: int, bucket: Bucket, now: float) -> bool:
        """Take over a saved bucket that began at `start`. False: it is too old, in the future, or
        begins where no bucket does."""
        number, rest = divmod(start, self.width)
        newest = int(now // self.width)
        if rest or not newest - self._count < number <= newest:
            return False
        if number in self._buckets:
            self._buckets[number].add(bucket)
        else:
            self._buckets[number] = bucket
        return True

    def total(self, now: float) -> Bucket:
        """The sum of the window at this moment."""
        self.at(now)
        total = Bucket()
        for bucket in self._buckets.values():
            total.add(bucket)
        return total

    def series(self, now: float, *, points: int) -> list[Bucket]:
        """The window in `points` equal parts, oldest first; `points` divides its buckets."""
        self.at(now)
        each = self._count // points
        series = [Bucket() for _ in range(points)]
        oldest = self._number - self._count + 1
        for number, bucket in self._buckets.items():
            series[(number - oldest) // each].add(bucket)
        return series

    def changed(self) -> list[tuple[int, Bucket]]:
        """(start, bucket) of those that changed since this was last asked."""
        found = []
        for number, bucket in self._buckets.items():
            if bucket.changed:
                bucket.changed = False
                found.append((number * self.width, bucket))
        return found

    def _forget(self, newest: int) -> None:
        """Drop what is older than the window, or in the future."""
        oldest = newest - self._count + 1
        for number in [n for n in self._buckets if not oldest <= n <= newest]:
            del self._buckets[number]


def quantile(bins: Sequence[int], share: float) -> float | None:
    """The time in milliseconds below which `share` of the samples lie, evenly spread within their
    bin; None without samples. Beyond the last bound it is that bound."""
    left = share * sum(bins)
    if not left:
        return None
    low = 0.0
    for count, high in zip(bins, BOUNDS, strict=False):
        if count and left <= count:
            return low + (high - low) * left / count
        left -= count
        low = high
    return low
