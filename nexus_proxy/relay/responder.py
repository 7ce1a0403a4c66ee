"""What the relay needs of whoever holds the client's connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from nexus_proxy.relay.connections.wire import Wait

HeaderList = Sequence[tuple[bytes, bytes]]


class Responder(Protocol):
    """The client's side of one request, written to by the relay and by nobody else.

    When the client leaves, the front cancels the task that serves the request; the relay needs no
    other sign.
    """

    @property
    def started(self) -> bool:
        """Whether the status line has been sent."""

    @property
    def finished(self) -> bool:
        """Whether the end of the answer has been sent."""

    async def start(self, status: int, headers: HeaderList) -> None:
        """Send status and headers. Once."""

    def write(self, data: bytes) -> Wait | None:
        """Send body bytes. Returns what to call and await before the next write, if the client
        reads slower than we write. Raises `ConnectionError` if it has left."""

    async def finish(self) -> None:
        """End the body cleanly."""

    async def respond(self, status: int, headers: HeaderList, body: bytes) -> None:
        """Send a whole answer with its content length."""
