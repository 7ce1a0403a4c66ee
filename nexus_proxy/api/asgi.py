"""A client's request and the relay's `Responder` over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from nexus_proxy.relay.connections.wire import Wait
from nexus_proxy.relay.responder import HeaderList

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

STALL_SECONDS = 60.0
"""Without a byte of a body that is due."""
READER_SECONDS = 300.0
"""Without room for one more write: the client has stopped reading, and holds a slot for nothing."""


class ClientLeft(Exception):
    """The client closed its connection before the request was whole."""


class Incoming:
    """`receive` of one request, which remembers how much of the body has come."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = 0
        self._is_whole = False

    async def __call__(self) -> dict[str, Any]:
        """ASGI `receive`."""
        message = await self._receive()
        self._read += len(message.get("body", b""))
        if not message.get("more_body", False):
            self._is_whole = True
        return message

    async def drop_rest(self, most: int) -> None:
        """Read on and forget, until the body has ended or `most` bytes of it have come.

        A client that writes before it reads would else see a reset connection in place of the
        refusal that it was sent.
        """
        try:
            while not self._is_whole and self._read <= most:
                async with asyncio.timeout(STALL_SECONDS):
                    await self()
        except TimeoutError:
            return


class AsgiResponder:
    """Writes one answer by ASGI messages.

    Back-pressure is the server's: `send` returns when the bytes may be written. Raises
    `ConnectionAbortedError` for a client that has stopped reading.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = self.finished = False

    async def start(self, status: int, headers: HeaderList) -> None:
        """See `Responder`."""
        self.started = True
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": list(headers),
            }
        )

    def write(self, data: bytes) -> Wait | None:
        """See `Responder`. ASGI cannot tell whether there is room: it is always waited for."""
        return partial(self._send_body, data, more_body=True)

    async def finish(self) -> None:
        """See `Responder`."""
        await self._send_body(b"", more_body=False)

    async def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """See `Responder`."""
        length = (b"content-length", str(len(body)).encode())
        await self.start(status, [*headers, length] if status != 204 else headers)
        await self._send_body(body, more_body=False)

    async def _send_body(self, data: bytes, *, more_body: bool) -> None:
        self.finished = not more_body
        message = {"type": "http.response.body", "body": data, "more_body": more_body}
        try:
            async with asyncio.timeout(READER_SECONDS):
                await self._send(message)
        except TimeoutError:
            raise ConnectionAbortedError("the client reads no more") from None
