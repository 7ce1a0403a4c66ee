"""Signs of life in the ledger's file: whoever gives none any more has what it reserved booked."""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable

from nexus_proxy.accounting import entries
from nexus_proxy.store.machine import machine_id

log = logging.getLogger(__name__)

DEAD_SECONDS = 60.0
"""Without a beat for so long, a process is taken for dead. If it was not, what it settles later
replaces what was booked for it."""


class Lease:
    """This process's, under the name `owner`. `clock` tells seconds since the epoch."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._machine = machine_id()
        self.owner = f"{os.getpid()}-{self._machine}-{secrets.token_hex(8)}"

    def renew(self, connection: sqlite3.Connection) -> None:
        """Give a sign of life, and book what the dead had reserved. A job of the store."""
        now = self._clock()
        entries.beat(connection, self.owner, os.getpid(), now)
        for owner, pid, beat in entries.owners(connection):
            if owner == self.owner or not self._is_dead(owner, pid, beat, now):
                continue
            if count := entries.interrupt(connection, owner):
                log.warning("%d requests of a process that died are booked as estimated", count)

    def leave(self, connection: sqlite3.Connection) -> None:
        """Book what is still reserved, and be here no more. A job of the store."""
        entries.interrupt(connection, self.owner)

    def _is_dead(self, owner: str, pid: int | None, beat: float | None, now: float) -> bool:
        """Whether a process left for good. One without a lease never began to beat, or was taken
        for dead by somebody else. A process id says nothing of another machine or container, and
        on Windows there is no asking without doing harm."""
        number, _, rest = owner.partition("-")
        is_silent = beat is None or abs(now - beat) > DEAD_SECONDS
        if rest.partition("-")[0] != self._machine or sys.platform == "win32":
            return is_silent
        try:
            os.kill(int(number) if pid is None else pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # it is there, and somebody else's
        return beat is not None and is_silent
