"""The gateway without a screen: logs on standard error until a signal asks it to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from nexus_proxy import __version__
from nexus_proxy.cli.assemble import gateway
from nexus_proxy.cli.bound import open_socket, read_config
from nexus_proxy.cli.demo import demo_backend
from nexus_proxy.server.signals import StopRequest, handled

if TYPE_CHECKING:
    import socket

    from nexus_proxy.cli.options import RunOptions
    from nexus_proxy.config.model import Loaded
    from nexus_proxy.siblings.seat import Seat

log = logging.getLogger("nexus_proxy.gateway")

T = TypeVar("T")


def run_headless(options: RunOptions) -> int:
    """Serve until told to stop. Returns the exit code. Raises `NexusError` before it serves."""
    loaded = read_config(options)
    sock = open_socket(loaded)
    return on_loop(serve(options, loaded, sock, stop=StopRequest()))


def on_loop(main: Coroutine[Any, Any, T]) -> T:
    """Run `main` on uvloop where there is one."""
    if sys.platform == "win32":
        return asyncio.run(main)
    from nexus_proxy.server.loop import SteadyLoop

    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        return runner.run(main)


async def serve(
    options: RunOptions,
    loaded: Loaded,
    sock: socket.socket,
    *,
    stop: StopRequest,
    seat: Seat | None = None,
    when_ready: Callable[[], object] | None = None,
) -> int:
    """Serve until `stop` is asked for. Returns the exit code. `when_ready` is called, in place of
    a line in the log, once requests are answered; `seat` is this worker's where there are more."""
    with handled(stop):
        async with gateway(options, loaded, sock, to_stderr=True, seat=seat) as running:
            await running.start()
            if when_ready is None:
                log.info("nexus %s serves at %s", __version__, running.runtime.endpoint)
            wanted = options.demo and (seat is None or seat.is_lead)
            async with demo_backend(running.runtime, wanted=wanted):
                settle_memory()
                if when_ready is not None:
                    when_ready()
                await stop.asked.wait()
                await running.drain(hurry=stop.hurry)
            return 0


def settle_memory() -> None:
    """Take what the start made out of the collector's sight, and let it look more seldom.

    A request makes some hundred objects and drops them again by reference count. At the default
    threshold the collector took a fifth of the CPU under load and found nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 1_000)
