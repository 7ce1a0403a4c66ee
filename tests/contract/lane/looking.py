"""Looking at the lane from inside: what no client can see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nexus_proxy.server.lane import LaneConnection, Lanes
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

LOOK_EVERY = 0.005
QUIET_LOOKS = 30


def lanes_of(gateway: RunningGateway) -> Lanes:
    lanes = gateway.gateway._lanes
    assert lanes is not None
    return lanes


def lane_connections(gateway: RunningGateway) -> set[LaneConnection]:
    """The connections that the lane holds now."""
    return lanes_of(gateway).connections


async def the_lane_connection(gateway: RunningGateway) -> LaneConnection:
    """The one connection that the lane holds; the probing client's are closed by then."""
    await eventually(lambda: len(lane_connections(gateway)) == 1)
    return next(iter(lane_connections(gateway)))


async def eventually(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    """Wait for what no event tells. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the inside of a connection has no events
            await asyncio.sleep(LOOK_EVERY)


async def buffered(connection: LaneConnection, size: int) -> None:
    """Wait until the lane has received so much of a request."""
    await eventually(lambda: len(connection._buffer) == size)


async def stuck(backend: ScriptedBackend) -> int:
    """Wait until the backend can send no more; how many bytes of answers it has sent."""
    sent, quiet = 0, 0
    while quiet < QUIET_LOOKS:
        # No event tells that nothing happens: looked at until several looks agree.
        await asyncio.sleep(LOOK_EVERY)
        now = sum(request.sent for request in backend.generations)
        quiet, sent = (quiet + 1 if now == sent > 0 else 0), now
    return sent
