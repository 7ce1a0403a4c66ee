"""`nexus announce`: let other Nexus instances on the network find a backend of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal

import click

from nexus_proxy.errors import NexusError


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

    Stock Ollama, LM Studio, llama.cpp and vLLM do not announce themselves.
    """
    with contextlib.suppress(KeyboardInterrupt):
        try:
            asyncio.run(_announce(url, name))
        except NexusError as error:
            raise click.ClickException(error.message) from None


async def _announce(url: str, name: str | None) -> None:
    import httpx

    from nexus_proxy.discovery.announce import announced

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with (
        httpx.AsyncClient(trust_env=False, follow_redirects=False) as client,
        announced(url, name, client=client) as said,
    ):
        where = ", ".join(said.addresses) or "no address"
        kind = said.service_type.removesuffix(".local.")
        click.echo(f"announcing {said.instance} as {kind} at {where}, port {said.port}")
        if said.warning:
            click.echo(f"warning: {said.warning}", err=True)
        click.echo("press Ctrl-C to stop")
        await stopped.wait()
    click.echo("no longer announced")
