"""Hypercorn for everything that the lane does not take, by its own classes.

A connection arrives with the bytes that were read of it; from then on Hypercorn's `TCPServer`
reads and writes it as if it had accepted it. Imported when the first such connection comes.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.protocol.h11 import H11Protocol

from nexus_proxy.dialects.openai import error_body
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.tasks import spawn

KEEP_ALIVE_SECONDS = 75.0
MAX_HEAD = 64 * 1024
ABORT = "nexus.abort"
"""In the `state` of each scope: the call that cuts the connection at once."""
_NO_HTTP = "this is not HTTP/1.1 as RFC 9112 has it; the connection is closed"
_BROKEN = {
    431: f"the head of the request is longer than {MAX_HEAD // 1024} KiB; the connection is closed",
    501: "the body comes in a transfer coding that is not known here; send it chunked, or with its "
    "length",
}
_TWO_LENGTHS = frozenset((b"content-length", b"transfer-encoding"))


class _Protocol(H11Protocol):
    """Says why it refuses what is no HTTP. Hypercorn's own answers with an empty body."""

    async def _send_error_response(self, status_code: int) -> None:
        body = error_body(InvalidRequestError(_BROKEN.get(status_code, _NO_HTTP)))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            *self.config.response_headers("h11"),
        ]
        await self._send_h11_event(h11.Response(status_code=status_code, headers=headers))
        await self._send_h11_event(h11.Data(data=body))
        await self._send_h11_event(h11.EndOfMessage())


class _Connection(TCPServer):
    """Ends when its client has left. Hypercorn's own waits for its keep-alive timer even then, and
    keeps the socket for so long."""

    client_left = False

    async def _read_data(self) -> None:
        ours = self.protocol  # as Hypercorn has made it, before it was given a byte
        ours.protocol = _Protocol(
            ours.app,
            ours.config,
            ours.context,
            ours.task_group,
            ours.state,
            ours.ssl,
            ours.client,
            ours.server,
            ours.send,
        )
        await super()._read_data()
        self.client_left = True
        await self.idle_task.stop()

    async def _idle_timeout(self) -> None:
        if not self.client_left:
            await super()._idle_timeout()


class HypercornSide:
    """The connections that Hypercorn serves."""

    def __init__(self, app: Any) -> None:
        self._app = ASGIWrapper(_closing_if_ambiguous(app))
        self._context = WorkerContext(None)
        self._connections: dict[asyncio.Task[None], asyncio.Transport] = {}
        self._config = Config()
        self._config.accesslog = None
        self._config.errorlog = logging.getLogger("hypercorn.error")
        self._config.include_server_header = False
        self._config.keep_alive_timeout = KEEP_ALIVE_SECONDS
        self._config.h11_max_incomplete_size = MAX_HEAD
        self._config.websocket_max_message_size = MAX_HEAD

    @property
    def open_now(self) -> int:
        """How many there are."""
        return len(self._connections)

    def adopt(self, transport: asyncio.Transport, received: bytes) -> None:
        """Serve a connection of which `received` was read already."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        reader.feed_data(received)
        state = {ABORT: transport.abort}
        server = _Connection(self._app, loop, self._config, self._context, state, reader, writer)
        task = spawn(server.run(), name="hypercorn connection")
        self._connections[task] = transport
        task.add_done_callback(self._connections.pop)

    async def stop(self, seconds: float) -> None:
        """Ask connections to end, and end those that do not within `seconds`."""
        await self._context.terminated.set()
        if self._connections:
            await asyncio.wait(self._connections, timeout=seconds)
        left = dict(self._connections)
        for task, transport in left.items():
            transport.abort()  # Hypercorn would wait until the client has read all
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=seconds)


def _closing_if_ambiguous(app: Any) -> Any:
    """`app`, but the connection ends after a request that tells its length in two ways.

    Hypercorn reads such a body by its chunks and goes on. RFC 9112 (6.1) asks to close: a proxy
    in between may have gone by `Content-Length`, and what follows may be no request of its client.
    """

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        async def send_and_close(message: Any) -> None:
            if message["type"] == "http.response.start":
                close = (b"connection", b"close")
                message = {**message, "headers": [*message["headers"], close]}
            await send(message)

        names = {name for name, _ in scope.get("headers", ())}
        await app(scope, receive, send_and_close if names >= _TWO_LENGTHS else send)

    return serve
