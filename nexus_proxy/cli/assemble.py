"""From options, configuration and socket to a gateway that is ready to start."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from nexus_proxy.config.model import Config, Loaded
from nexus_proxy.runtime import Runtime
from nexus_proxy.server.gateway import Gateway
from nexus_proxy.server.listen import endpoint, is_loopback
from nexus_proxy.telemetry.logs import Logs

if TYPE_CHECKING:
    import socket

    from nexus_proxy.cli.options import RunOptions
    from nexus_proxy.siblings.seat import Seat

CLOUD_KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "NEXUS_API_KEY",
)


def secrets_of(config: Config) -> list[str]:
    """Values that must never be printed: of all key variables that are set."""
    names = {*CLOUD_KEYS, *(b.api_key_env for b in config.backends if b.api_key_env)}
    if config.server.management_key_env:
        names.add(config.server.management_key_env)
    if config.state.password_env:
        names.add(config.state.password_env)
    return [value for name in names if (value := os.environ.get(name))]


@asynccontextmanager
async def gateway(
    options: RunOptions,
    loaded: Loaded,
    sock: socket.socket,
    *,
    to_stderr: bool,
    seat: Seat | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway with its logs installed, to be started; stopped at the end, its logs put back."""
    from nexus_proxy.api.front import Front

    logs = Logs(
        loaded.config.logging,
        secrets=secrets_of(loaded.config),
        to_stderr=to_stderr,
        worker=seat.tag if seat else None,
    )
    logs.install()
    try:
        runtime = Runtime(
            loaded,
            logs=logs,
            environ=os.environ,
            endpoint=endpoint(sock),
            explicit=options.config,
            flags=options.flags(),
            seat=seat,
        )
        runtime.discovery.own_addresses |= own_addresses(sock)
        running = Gateway(runtime, Front(runtime, loopback=is_loopback(sock)), sock)
        try:
            yield running
        finally:
            await running.stop()
    finally:
        logs.remove()


def own_addresses(sock: socket.socket) -> set[str]:
    """Canonical addresses under which discovery might meet this very gateway."""
    host, port = sock.getsockname()[:2]
    shown = "127.0.0.1" if ipaddress.ip_address(host).is_unspecified else host
    return {f"127.0.0.1:{port}", f"{shown}:{port}"}
