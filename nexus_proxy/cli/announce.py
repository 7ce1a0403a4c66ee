"""`nexus announce`: let other Nexus instances on the network find a backend of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import click

from nexus_proxy.errors import CommandError, NexusError
from nexus_proxy.tasks import spawn

if TYPE_CHECKING:
    from nexus_proxy.discovery.announce import Announcement


@click.command()
@click.option(
    "--url",
    default="http://localhost:11434",
    show_default=True,
    help="The backend to announce, on this machine.",
)
@click.option("--name", default=None, help="Name to announce it under. Default: the host's name.")
def announce(url: str, name: str | None) -> None:
    """Announce a backend of this machine over mDNS until interrupted.

    When this machine changes networks, it is announced there.
    Stock Ollama, LM Studio, llama.cpp and vLLM do not announce themselves.
    """
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_announce(url, name))
        except NexusError as error:
            raise click.ClickException(error.message) from None


async def _announce(url: str, name: str | None) -> None:
    import httpx

    from nexus_proxy.discovery.announce import NETWORK_CHECK_SECONDS, announced, until_moved

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    was_announced, told = False, ""
    async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client:
        while not stopped.is_set():
            try:
                async with announced(url, name, client=client) as said:
                    _tell(said)
                    was_announced, told = True, ""
                    await _first(stopped.wait(), until_moved(said))
            except CommandError as error:
                if not was_announced:
                    raise
                if error.message != told:
                    click.echo(f"not announced for now: {error.message}", err=True)
                told = error.message
                await _first(stopped.wait(), asyncio.sleep(NETWORK_CHECK_SECONDS))
    click.echo("no longer announced")


def _tell(said: Announcement) -> None:
    where = ", ".join(said.addresses) or "no address"
    kind = said.service_type.removesuffix(".local.")
    click.echo(
        f"announcing {said.instance} as {kind} at {where}, port {said.port}; Ctrl-C stops it"
    )
    if said.warning:
        click.echo(f"warning: {said.warning}", err=True)


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Return when one of them does, and end the others."""
    tasks = [spawn(wait, name="announce") for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
