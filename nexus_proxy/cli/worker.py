"""`python -m nexus_proxy.cli.worker NUMBER SOCKET CHANNEL`: one of several gateway processes.

Started by `nexus_proxy.server.workers`, never by hand: the last two are open file handles, the
listening socket and the line to the parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

import msgspec

from nexus_proxy.cli.bound import read_config
from nexus_proxy.cli.exits import OK, code_of
from nexus_proxy.cli.output import complain
from nexus_proxy.cli.run import on_loop, serve
from nexus_proxy.cli.workers import Opening
from nexus_proxy.errors import NexusError
from nexus_proxy.server.signals import StopRequest
from nexus_proxy.server.workers import READY
from nexus_proxy.tasks import spawn


def main() -> int:
    """Serve until told to stop, or until the parent is gone. Returns the exit code."""
    _number, listening, line = map(int, sys.argv[1:])
    channel = socket.socket(fileno=line)
    told = channel.makefile("rb").readline()
    if not told:
        return OK  # the parent has ended already
    opening = msgspec.json.decode(told, type=Opening)
    try:
        return on_loop(_serve(opening, socket.socket(fileno=listening), channel))
    except NexusError as error:
        complain(f"worker {opening.seat.number}: {error.message}")
        return code_of(error)


async def _serve(opening: Opening, sock: socket.socket, channel: socket.socket) -> int:
    channel.setblocking(False)
    stop = StopRequest()
    watching = spawn(_until_orphaned(channel, stop), name="watch the parent")
    try:
        return await serve(
            opening.options,
            read_config(opening.options),
            sock,
            stop=stop,
            seat=opening.seat,
            when_ready=lambda: channel.send(READY),
        )
    finally:
        watching.cancel()


async def _until_orphaned(channel: socket.socket, stop: StopRequest) -> None:
    """The parent says nothing more: what can be read is its end."""
    with contextlib.suppress(ConnectionError):
        await asyncio.get_running_loop().sock_recv(channel, 1)
    stop.ask()


if __name__ == "__main__":
    sys.exit(main())
