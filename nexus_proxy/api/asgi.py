"""The relay's `Responder` over ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nexus_proxy.relay.responder import HeaderList

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class AsgiResponder:
    """Writes one answer by ASGI messages. `extra` headers go on whatever is answered.

    Back-pressure is the server's: `send` returns when the bytes may be written.
    """

    def __init__(self, send: Send, *, extra: HeaderList) -> None:
        self._send = send
        self._extra = extra
        self.started = False

    async def start(self, status: int, headers: HeaderList) -> None:
        """See `Responder`."""
        self.started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self._extra],
            }
        )

    async def write(self, data: bytes) -> None:
        """See `Responder`."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def finish(self) -> None:
        """See `Responder`."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """See `Responder`."""
        length = (b"content-length", str(len(body)).encode())
        await self.start(status, [*headers, length] if status != 204 else headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
