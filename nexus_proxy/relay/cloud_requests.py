"""Requests that run on clouds, so that airplane mode can cut them at once."""

from __future__ import annotations

import asyncio
from types import TracebackType

from nexus_proxy.errors import AirplaneError
from nexus_proxy.events import AirplaneChanged, Bus, Event
from nexus_proxy.registry import Registry


class CloudRequests:
    """All attempts at clouds that run now."""

    def __init__(self, registry: Registry, bus: Bus) -> None:
        self._registry = registry
        self._flights: set[Flight] = set()
        bus.subscribe(self._heard, AirplaneChanged)

    def __len__(self) -> int:
        return len(self._flights)

    def flight(self, backend: str) -> Flight:
        """An attempt at a backend out there."""
        return Flight(self, backend)

    def board(self, flight: Flight) -> None:
        """A flight begins. Raises `AirplaneError` while none may."""
        if self._registry.airplane:
            raise AirplaneError(
                f"{flight.backend} was not asked: airplane mode is on (`nexus airplane off`)",
                backend=flight.backend,
            )
        self._flights.add(flight)

    def leave(self, flight: Flight) -> None:
        """A flight is over."""
        self._flights.discard(flight)

    def _heard(self, event: Event) -> None:
        if isinstance(event, AirplaneChanged) and event.on:
            for flight in self._flights:
                flight.cut()
            self._flights.clear()


class Flight:
    """One attempt at a cloud. Use as `async with`: the block is cut, with `AirplaneError`, when
    airplane mode is switched on."""

    __slots__ = ("_all", "_timeout", "backend")

    def __init__(self, cloud_requests: CloudRequests, backend: str) -> None:
        self._all, self.backend = cloud_requests, backend
        # A timeout tells its own cancellation from that of a client who leaves.
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._all.board(self)
        await self._timeout.__aenter__()

    async def __aexit__(
        self,
        type_: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._all.leave(self)
        try:
            await self._timeout.__aexit__(type_, error, traceback)
        except TimeoutError:
            raise AirplaneError(
                f"the request to {self.backend} was cut: airplane mode was switched on "
                "(`nexus airplane off`)",
                backend=self.backend,
            ) from None

    def cut(self) -> None:
        """End the block at once."""
        self._timeout.reschedule(asyncio.get_running_loop().time())
