"""`/ws`: the live half of the dashboard. What it says is described in `nexus_proxy.web.frames`.

Whoever is let in is told the state, then what changes, and is not listened to. A browser that does
not read is cut after a while; the socket closes with 1001 when the gateway stops.
"""

from __future__ import annotations

import asyncio

from nexus_proxy.api.access import Management
from nexus_proxy.api.asgi import Receive, Scope, Send
from nexus_proxy.api.refusals import refuse_websocket
from nexus_proxy.errors import NexusError, UnknownRouteError
from nexus_proxy.server.handover import ABORT
from nexus_proxy.web.hub import Hub, Viewer

PATH = "/ws"
READER_SECONDS = 30.0
"""Without room for one more message."""
GOING_AWAY = 1001


class Live:
    """The WebSockets of one gateway."""

    def __init__(self, hub: Hub, management: Management) -> None:
        self._hub, self._management = hub, management

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry for `websocket` scopes that passed the gate."""
        try:
            if scope["path"] != PATH:
                raise UnknownRouteError(
                    f"{scope['path'][:200]}: the only WebSocket of this gateway is {PATH}"
                )
            self._management.check(scope)
        except NexusError as error:
            await refuse_websocket(send, error)
            return
        await receive()
        await send({"type": "websocket.accept"})
        with self._hub.viewer() as viewer:
            await _serve(viewer, scope, receive, send)


async def _serve(viewer: Viewer, scope: Scope, receive: Receive, send: Send) -> None:
    async with asyncio.TaskGroup() as group:
        telling = group.create_task(_tell(viewer, scope, send))
        leaving = group.create_task(_until_left(receive))
        await asyncio.wait((telling, leaving), return_when=asyncio.FIRST_COMPLETED)
        telling.cancel()
        leaving.cancel()


async def _tell(viewer: Viewer, scope: Scope, send: Send) -> None:
    try:
        while (message := await viewer.next()) is not None:
            async with asyncio.timeout(READER_SECONDS):
                await send({"type": "websocket.send", "text": message})
        await send({"type": "websocket.close", "code": GOING_AWAY, "reason": "the gateway stops"})
    except TimeoutError:
        scope["state"][ABORT]()


async def _until_left(receive: Receive) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass
