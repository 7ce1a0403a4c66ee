"""The summary of spend that screens show: read off the loop, seldom, and only while one looks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.events import Bus, SpendRead
from nexus_proxy.state import SpendSummary
from nexus_proxy.tasks import spawn

LEAST_SECONDS = 3.0
LONGEST_SECONDS = 30.0
"""Other processes write to the same file and do not tell: so old, a summary is read again."""
_SHARE = 0.02
"""Of a processor that reading may take: the more there is to add up, the longer it rests."""


class Spending:
    """Keeps the last summary. Whoever looks at it starts the next reading, if something changed;
    while nobody looks, nothing is read. `SpendRead` tells when it reads differently."""

    def __init__(
        self, ledger: Ledger, bus: Bus, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger, self._bus, self._clock = ledger, bus, clock
        self._summary: SpendSummary | None = None
        self._seen: tuple[int, str] | None = None
        self._read_at = self._next_at = 0.0
        self._reading: asyncio.Task[None] | None = None
        self._stopped = False

    def look(self) -> SpendSummary | None:
        """What is known now; None before the first reading. Cheap, and never waits."""
        if self._reading is None and not self._stopped and self._is_stale():
            self._reading = spawn(self._read_when_due(), name="spending")
        return self._summary

    def stop(self) -> None:
        """Read no more. The store is closed after this."""
        self._stopped = True
        if self._reading is not None:
            self._reading.cancel()

    def _is_stale(self) -> bool:
        is_old = self._clock() - self._read_at >= LONGEST_SECONDS
        return is_old or self._seen != self._ledger.edition

    async def _read_when_due(self) -> None:
        """Nobody may look again before the rest is over, so it is sat out here."""
        try:
            await asyncio.sleep(max(0.0, self._next_at - self._clock()))
            await self._read()
        finally:
            self._reading = None

    async def _read(self) -> None:
        edition, found, cost = self._ledger.edition, self._summary, 0.0
        try:
            found, cost = await self._ledger.summary()
        except StoreUnavailableError:
            pass  # what was known last stays; the store says why
        finally:
            self._seen, self._read_at = edition, self._clock()
            self._next_at = self._read_at + max(LEAST_SECONDS, cost / _SHARE)
        if found != self._summary:
            self._summary = found
            self._bus.publish(SpendRead())
