"""`--workers N`: what the parent of several gateway processes knows and tells each of them."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import msgspec

from nexus_proxy import __version__
from nexus_proxy.cli.bound import open_socket, read_config
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.siblings.seat import Seat

if TYPE_CHECKING:
    import socket

    from nexus_proxy.config.model import Loaded


class Opening(msgspec.Struct, frozen=True):
    """What a worker is told when it starts."""

    seat: Seat
    options: RunOptions


def run_workers(options: RunOptions) -> int:
    """Serve with `options.workers` processes until told to stop. Returns the exit code. Raises
    `NexusError` before any of them is started."""
    import click

    if sys.platform == "win32":
        raise click.UsageError("--workers needs Linux or macOS: leave it out here")
    loaded = read_config(options)
    sock = open_socket(loaded)
    with sock:
        return _run(options, loaded, sock)


def _run(options: RunOptions, loaded: Loaded, sock: socket.socket) -> int:
    from nexus_proxy.server.listen import endpoint
    from nexus_proxy.server.workers import Workers
    from nexus_proxy.telemetry.logs import Logs

    def opening(seat: Seat) -> bytes:
        return msgspec.json.encode(Opening(seat, options)) + b"\n"

    count = options.workers
    said = f"nexus {__version__} serves at {endpoint(sock)}, with {count} workers"
    # It logs about workers, and never what came in: it needs to know no secrets.
    logs = Logs(loaded.config.logging, secrets=(), to_stderr=True)
    logs.install()
    try:
        return Workers(sock, count, secrets.token_hex(8), opening, said).run()
    finally:
        logs.remove()
