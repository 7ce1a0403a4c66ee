"""`nexus`: the gateway with its screen, in one process and on one loop.

The screen is imported only when one is wanted. If it crashes, the gateway goes on serving, with
its log on standard error, until it is told to stop.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TYPE_CHECKING

from nexus_proxy.cli.root import build

if TYPE_CHECKING:
    import socket

    from nexus_proxy.cli.options import RunOptions
    from nexus_proxy.config.model import Loaded
    from nexus_proxy.server.gateway import Gateway
    from nexus_proxy.server.signals import StopRequest
    from nexus_tui.app import NexusApp

log = logging.getLogger("nexus_tui.main")


def main() -> None:
    """Entry point of the `nexus` command."""
    build(run_ui=run_with_screen, attach=attach)()


def run_with_screen(options: RunOptions) -> int:
    """Serve, with the terminal UI. Returns the exit code. Raises `NexusError` before it serves."""
    from nexus_proxy.cli.bound import open_socket, read_config
    from nexus_proxy.cli.run import on_loop

    loaded = read_config(options)
    sock = open_socket(loaded)
    return on_loop(_run(options, loaded, sock))


def attach(url: str, key: str | None, *, read_only: bool) -> int:
    """The terminal UI over a running gateway. Raises `NexusError` when none answers."""
    from nexus_proxy.cli.run import on_loop

    return on_loop(_attach(url, key, read_only=read_only))


async def _run(options: RunOptions, loaded: Loaded, sock: socket.socket) -> int:
    from nexus_proxy.cli.assemble import gateway
    from nexus_proxy.cli.demo import demo_backend
    from nexus_proxy.cli.run import settle_memory
    from nexus_proxy.cli.tour import touring
    from nexus_proxy.server.signals import StopRequest, handled
    from nexus_tui.app import NexusApp
    from nexus_tui.choices import remember_theme, remembered_theme
    from nexus_tui.source.in_process import RuntimeSource

    stop = StopRequest()
    with handled(stop):
        async with gateway(options, loaded, sock, to_stderr=False) as running:
            await running.start()
            async with demo_backend(running.runtime, wanted=options.demo):
                app = NexusApp(
                    RuntimeSource(running.runtime),
                    theme=remembered_theme(),
                    on_theme=remember_theme,
                )
                settle_memory()
                async with touring(running.runtime, wanted=options.demo):
                    crashed = await _show(app, running, stop)
                if crashed:
                    _tell_of_the_crash(running)
                    await stop.asked.wait()
                if app.return_value != "quit-now":
                    await running.drain(hurry=stop.hurry)
            return 1 if crashed else 0


async def _show(app: NexusApp, running: Gateway, stop: StopRequest) -> bool:
    """Run the screen until somebody quits or a signal comes. True: it crashed."""
    stop.on_ask(app.exit)
    try:
        await app.run_async()
    except Exception:  # noqa: BLE001 a bug in the screen must not take the gateway down
        traceback.print_exc()
        return True
    return bool(app.return_code)


def _tell_of_the_crash(running: Gateway) -> None:
    running.runtime.logs.to_stderr()
    print(  # noqa: T201 the screen is gone; this is for the person before the terminal
        f"\nThe screen crashed, but the gateway still serves at {running.runtime.endpoint}.\n"
        f"Open a new one with `nexus attach {running.runtime.endpoint}`; Ctrl-C stops the gateway.",
        file=sys.stderr,
    )


async def _attach(url: str, key: str | None, *, read_only: bool) -> int:
    from nexus_proxy.server.signals import StopRequest, handled
    from nexus_tui.app import NexusApp
    from nexus_tui.choices import remember_theme, remembered_theme
    from nexus_tui.source.attached import HttpSource

    source = HttpSource(url, key=key, read_only=read_only)
    stop = StopRequest()
    try:
        await source.open()
        app = NexusApp(source, theme=remembered_theme(), on_theme=remember_theme)
        with handled(stop):
            stop.on_ask(app.exit)
            await app.run_async()
        return app.return_code or 0
    finally:
        await source.close()


if __name__ == "__main__":
    main()
