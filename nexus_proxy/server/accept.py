"""Taking connections from a socket that several processes listen on, in fair shares.

The workers share one listening socket with one queue, so a worker that dies loses no connection
that it has not taken yet; with a socket for each (SO_REUSEPORT) the kernel would reset those in the
dead one's queue, and deal by hash: of 8 connections one of two workers got up to 6, of 32 up to 23
(12 runs each). But libuv takes all that waits when it wakes, so of 64 that came at once the first
of two workers got 56 on average and often all; one at a time per wake-up was no better. Hence the
board: each worker writes there how many connections it has, and one that has more than another
leaves the next to the others for `PATIENCE_SECONDS`. If it waits then still, the others are busy,
stopped or gone, and it is taken. The price: while another worker hangs, connections that come in a
burst wait up to 0.5 ms for each that came before.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from nexus_proxy.server.board import ABSENT, Board
from nexus_proxy.server.listen import BACKLOG
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 0.002
TAKEN_AT_A_TIME = 4
FULL_SECONDS = 0.1
"""Pause when this process may open no more files."""


class Acceptor:
    """Takes connections for one worker. `open_now` counts those that are open."""

    def __init__(
        self,
        sock: socket.socket,
        make: Callable[[], asyncio.Protocol],
        open_now: Callable[[], int],
        board: Board,
        worker: int,
    ) -> None:
        self._sock, self._make, self._open_now = sock, make, open_now
        self._board, self._worker = board, worker
        self._loop = asyncio.get_running_loop()
        self._opening = 0
        self._pause: asyncio.TimerHandle | None = None
        self._write()
        self._loop.add_reader(sock, self._take_share)

    def close(self) -> None:
        """Take no more; the others may."""
        self._board.write(self._worker, ABSENT)
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._sock)

    def _take_share(self) -> None:
        """Take what waits, as long as no other worker has fewer."""
        for _ in range(BACKLOG):
            self._write()
            if self._board.has_most(self._worker):
                self._wait(PATIENCE_SECONDS)
                return
            if not self._take():
                return

    def _take_rest(self) -> None:
        """Take some of what nobody else has taken meanwhile."""
        self._pause = None
        self._loop.add_reader(self._sock, self._take_share)
        for _ in range(TAKEN_AT_A_TIME):
            if not self._take():
                return

    def _take(self) -> bool:
        """Whether there was one more."""
        try:
            connection, _ = self._sock.accept()
        except BlockingIOError:
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            log.warning("no connection can be taken now: %s", error.strerror or error)
            self._wait(FULL_SECONDS)
            return False
        connection.setblocking(False)
        self._opening += 1
        spawn(self._open(connection), name="open connection")
        return True

    async def _open(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:
            connection.close()  # the client has gone again
        finally:
            self._opening -= 1

    def _write(self) -> None:
        self._board.write(self._worker, self._open_now() + self._opening)

    def _wait(self, seconds: float) -> None:
        self._loop.remove_reader(self._sock)
        self._pause = self._loop.call_later(seconds, self._take_rest)
