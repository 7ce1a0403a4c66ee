"""One client request on its way: what it is, its record, and what its client has got so far."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from nexus_proxy.dialects.openai import Endpoint, RequestPeek
from nexus_proxy.dialects.sse import PING
from nexus_proxy.relay.headers import HeaderList, Wishes
from nexus_proxy.relay.responder import Responder
from nexus_proxy.telemetry.history import Record

OPEN_AFTER = 15.0
"""Seconds without a token after which a stream is opened, to keep the client's connection alive.
Until then nothing is promised and the status is still free."""
PING_EVERY = 10.0
LOOK_EVERY = 1.0
"""How often a pause is interrupted to see whether a sign of life is due."""

SSE_HEADERS: HeaderList = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """What came in: a whole request, body read and bounded. Header names are lower case.

    `extra_headers` go on the answer, whatever it is (CORS).
    """

    endpoint: Endpoint
    headers: Mapping[bytes, bytes]
    body: bytes
    client: str
    extra_headers: Sequence[tuple[bytes, bytes]] = ()


@dataclass(slots=True, kw_only=True)
class Call:
    """State of one request while it is served. `committed`: a backend's bytes reached the client,
    so no other backend can take over. `told`: the backend's own error event did, so that no
    second one is due. `progressed` tells the history that there is news."""

    inbound: Inbound
    responder: Responder
    record: Record
    peek: RequestPeek
    wishes: Wishes
    hops: bytes
    base_headers: HeaderList
    route_headers: HeaderList = field(default_factory=list)
    progressed: Callable[[], None]
    committed: bool = False
    told: bool = False
    clock: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    last_write: float = 0.0

    def headers(self, *more: tuple[bytes, bytes]) -> HeaderList:
        """Ours for this answer, and `more`."""
        return [*self.base_headers, *self.route_headers, *more]

    async def commit(self, upstream_headers: HeaderList) -> None:
        """Promise the client this backend's stream."""
        self.committed = True
        if not self.responder.started:
            kept = [h for h in upstream_headers if h[0] != b"content-type"]
            await self.responder.start(200, self.headers(*SSE_HEADERS, *kept))

    async def write(self, data: bytes) -> None:
        """Pass bytes on."""
        self.last_write = asyncio.get_running_loop().time()
        await self.responder.write(data)

    async def pause(self, seconds: float) -> None:
        """Wait before another try; the client is kept informed."""
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(left, LOOK_EVERY))
            await self.sign_of_life()

    async def sign_of_life(self) -> None:
        """Send a comment to a streaming client that has heard nothing for long."""
        if not self.peek.stream:
            return
        now = asyncio.get_running_loop().time()
        if not self.responder.started:
            if now - self.clock < OPEN_AFTER:
                return
            await self.responder.start(200, self.headers(*SSE_HEADERS))
        elif now - self.last_write < PING_EVERY:
            return
        await self.write(PING)
