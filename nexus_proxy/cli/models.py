"""`nexus models` and `nexus health`."""

from __future__ import annotations

import click
from msgspec import Struct, to_builtins

from nexus_proxy.cli import loading
from nexus_proxy.cli.client import Client, connected, gateway_url, url_option
from nexus_proxy.cli.completing import completing
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.cli.text import tokens, uptime
from nexus_proxy.errors import CommandError
from nexus_proxy.state import Snapshot
from nexus_proxy.wording import plural


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


@click.group(invoke_without_command=True)
@click.option(
    "--backend",
    metavar="NAME",
    shell_complete=completing("backend"),
    help="Only what this backend serves.",
)
@json_option
@url_option
@click.pass_context
def models(context: click.Context, backend: str | None, as_json: bool, gateway: str | None) -> None:
    """List the models that can be asked for, with aliases; load, unload and move them.

    CONTEXT is in tokens, the largest that a backend gives a request now.
    """
    if context.invoked_subcommand is None:
        with Client(gateway_url(gateway, context.ensure_object(RunOptions))) as client:
            _list(client, backend, as_json)
    elif backend is not None or as_json or gateway is not None:
        raise click.UsageError(f"options of `{context.invoked_subcommand}` are written after it")


for _name, _command in loading.COMMANDS.items():
    models.add_command(_command, _name)


def _list(client: Client, backend: str | None, as_json: bool) -> None:
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
    """Say how the gateway is, what is wrong, and what goes on.

    The exit code is 1 where no backend is healthy.
    """
    found, operations = client.get("/health", Health), loading.running(client)
    now = _now(client)
    problems = now.problems if now else ()
    if as_json:
        traffic = None if now is None else {**to_builtins(now.totals), "waiting": len(now.queue)}
        more = {"operations": operations, "problems": problems, "traffic": traffic}
        show_json({**to_builtins(found), **more})
    else:
        backends = found.backends
        say(f"{found.status}: nexus {found.version} at {client.url}")
        say(f"up for {uptime(found.uptime_seconds)}, {plural(found.models.total, 'model')}")
        say(f"{backends.healthy} of {plural(backends.total, 'backend')} healthy")
        if now is not None:
            say(_traffic(now))
        for operation in operations:
            say(loading.told(operation))
        for problem in problems:
            say(f"! {problem}")
    if found.status == "unhealthy":
        context.exit(1)


def _now(client: Client) -> Snapshot | None:
    """None where the management API is closed to us."""
    try:
        return client.get("/nexus/v1/state", Snapshot)
    except CommandError:
        return None


def _traffic(now: Snapshot) -> str:
    totals = now.totals
    line = (
        f"{plural(totals.in_flight, 'request')} in flight, {len(now.queue)} waiting; "
        f"{totals.requests_per_second:.1f} requests/s, {totals.tokens_per_second:.0f} tokens/s; "
        f"{plural(totals.requests, 'request')} so far, {totals.failures} failed"
    )
    return f"{line}; airplane mode is on" if now.airplane else line
