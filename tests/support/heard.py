"""Waiting for what a bus tells, instead of for time to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nexus_proxy.events import Bus, DiscoveryNoted, Event


class Heard:
    """All events of a bus since it was made."""

    def __init__(self, bus: Bus) -> None:
        self.events: list[Event] = []
        self._something = asyncio.Event()
        bus.subscribe(self._hear)

    @property
    def notes(self) -> list[str]:
        """What discovery said, in order."""
        return [event.note for event in self.events if isinstance(event, DiscoveryNoted)]

    async def until(self, condition: Callable[[], object], *, within: float = 20.0) -> None:
        """Wait until the condition holds; it is looked at after each event.

        Raises `TimeoutError` with what was heard instead.
        """
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._something.clear()
                    await self._something.wait()
        except TimeoutError:
            raise TimeoutError(f"heard only: {self.events}") from None

    def _hear(self, event: Event) -> None:
        self.events.append(event)
        self._something.set()
