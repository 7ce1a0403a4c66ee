"""`nexus models` and `nexus health`."""

from __future__ import annotations

import click
from msgspec import Struct

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.cli.text import count, tokens, uptime
from nexus_proxy.errors import CommandError


class Model(Struct, frozen=True):
    """An entry of `/v1/models`."""

    id: str
    owned_by: str
    context_length: int | None
    capabilities: list[str]
    backends: list[str]


class Models(Struct, frozen=True):
    """The answer of `/v1/models`."""

    data: list[Model]


class Backends(Struct, frozen=True):
    """How many backends count, and how they are."""

    total: int
    healthy: int
    unhealthy: int


class Total(Struct, frozen=True):
    """A number of things."""

    total: int


class Health(Struct, frozen=True):
    """The answer of `/health`."""

    status: str
    version: str
    uptime_seconds: float
    backends: Backends
    models: Total


def _offered(client: Client) -> Models:
    """What an operator sees, or, where the management API is closed to us, what clients see."""
    try:
        return client.get("/nexus/v1/models", Models)
    except CommandError:
        return client.get("/v1/models", Models)


@click.command()
@click.option("--backend", metavar="NAME", help="Only what this backend serves.")
@json_option
@connected
def models(client: Client, backend: str | None, as_json: bool) -> None:
    """List the models that can be asked for, with aliases.

    CONTEXT is in tokens, the largest that a backend gives a request now.
    """
    found = [
        model for model in _offered(client).data if backend is None or backend in model.backends
    ]
    if as_json:
        show_json(found)
    elif found:
        rows = [
            (
                model.id,
                tokens(model.context_length),
                ", ".join(model.capabilities) or "-",
                ", ".join(model.backends),
            )
            for model in found
        ]
        show_table(("MODEL", "CONTEXT", "CAPABILITIES", "BACKENDS"), rows, right=("CONTEXT",))
    elif backend is not None:
        remark(f"No backend called {backend} offers a model; `nexus backends list` shows them all.")
    else:
        remark("No models yet: `nexus backends list` shows how the backends are.")


@click.command()
@json_option
@connected
@click.pass_context
def health(context: click.Context, client: Client, as_json: bool) -> None:
    """Say how the gateway is.

    The exit code is 1 where no backend is healthy.
    """
    found = client.get("/health", Health)
    if as_json:
        show_json(found)
    else:
        backends = found.backends
        say(f"{found.status}: nexus {found.version} at {client.url}")
        say(f"up for {uptime(found.uptime_seconds)}, {count(found.models.total, 'model')}")
        say(f"{backends.healthy} of {count(backends.total, 'backend')} healthy")
    if found.status == "unhealthy":
        context.exit(1)
