"""Slots: how many requests each backend and model have in flight, and how long each holds one.

A slot is held by `with`, so that none can leak. Whoever waits for one is told of each release
(`Slots.on_free`); while nobody waits, that costs one comparison.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from nexus_proxy.registry import EMA_WEIGHT, Backend


class Slots:
    """Owner of `Backend.in_flight` and `Backend.running`, and of the measured holding times.

    `mean_seconds` holds a moving average by (backend, model) of the time from taking a slot to its
    release, whatever ended it: what counts for those who wait is that the slot is free again.
    `on_free` is called after each release while it is set.
    """

    __slots__ = ("_held", "clock", "mean_seconds", "on_free")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.mean_seconds: dict[tuple[str, str], float] = {}
        self.on_free: Callable[[Backend], None] | None = None
        self._held: dict[str, set[Hold]] = {}

    def hold(self, backend: Backend, model: str) -> Hold:
        """Occupy a slot from now until the end of the `with` block, whether one is free or not."""
        backend.in_flight += 1
        backend.requests += 1
        running = backend.running
        running[model] = running.get(model, 0) + 1
        backend.latest_model = model
        held = Hold(self, backend, model)
        self._held.setdefault(backend.name, set()).add(held)
        return held

    def freed_per_second(self, backend: Backend) -> float:
        """How many slots of `backend` become free a second, by what runs on it and how long such
        requests took; 0 where nothing of it was measured."""
        return sum(1.0 / seconds for seconds in self._expected(backend) if seconds)

    def longest_seconds(self, backend: Backend) -> float | None:
        """How long the slowest of the requests that run on `backend` will have held its slot; None
        where one of their models was not measured, or none runs."""
        known = [seconds for seconds in self._expected(backend) if seconds is not None]
        return max(known) if known and len(known) == backend.in_flight else None

    def drop(self, held: Hold, backend: Backend) -> None:
        """A slot is free again."""
        self._held[backend.name].discard(held)

    def _expected(self, backend: Backend) -> Iterator[float | None]:
        """Seconds that each request that runs holds its slot in all: the mean of its model, or as
        long as it has run by now, whichever is more; None: not measured."""
        now = self.clock()
        for held in self._held.get(backend.name, ()):
            mean = self.mean_seconds.get((backend.name, held.model))
            yield None if mean is None else max(mean, now - held.since)

    def forget(self, name: str) -> None:
        """A backend is gone, and what was measured on it."""
        self.mean_seconds = {key: m for key, m in self.mean_seconds.items() if key[0] != name}
        if not self._held.get(name):
            self._held.pop(name, None)


class Hold:
    """One slot, taken. Released at the end of the block, or by `release`; twice is once."""

    __slots__ = ("_backend", "_slots", "model", "since")

    def __init__(self, slots: Slots, backend: Backend, model: str) -> None:
        self._slots = slots
        self._backend: Backend | None = backend
        self.model = model
        self.since = slots.clock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the slot back, and tell who waits for it."""
        backend = self._backend
        if backend is None:
            return
        self._backend = None
        slots, model, running = self._slots, self.model, backend.running
        slots.drop(self, backend)
        backend.in_flight -= 1
        left = running[model] - 1
        if left:
            running[model] = left
        else:
            del running[model]
        seconds, key = slots.clock() - self.since, (backend.name, model)
        mean = slots.mean_seconds.get(key)
        slots.mean_seconds[key] = seconds if mean is None else mean + EMA_WEIGHT * (seconds - mean)
        if (on_free := slots.on_free) is not None:
            on_free(backend)
