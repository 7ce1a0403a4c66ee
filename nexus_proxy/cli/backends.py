"""`nexus backends`: the list, and a command for every verb on backends in the verbs table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click
from msgspec import Struct

from nexus_proxy.cli.backend_detail import show
from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.completing import completing
from nexus_proxy.cli.listing import ListGroup
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.commands import COMMANDS, Argument, Command, Danger, Result
from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.errors import CommandError
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.state import BackendView, Snapshot

PREFIX = "backend."
VERBS = "/nexus/v1/commands"

_SAMPLES = {
    "backend": "gpubox",
    "destination": "laptop",
    "url": "http://gpubox:8080",
    "model": "qwen3:8b",
    "target": "qwen3:8b",
    "fallback": "qwen3:8b",
    "alias": "gpt-4o",
    "zone": "internal",
    "int": "10",
    "switch": "on",
    "key": "laptop",
    "tags": "fast,vision",
    "request": "req-84f7b959ef17acbc",
    "models": "llama3.2",
    "setting": "queue.max_wait_seconds",
    "value": "60",
}
"""What may stand in an example for an argument, by its kind or else its name."""
_METAVARS = {
    "backend": "NAME",
    "target": "TARGET",
    "model": "MODEL",
    "url": "URL",
    "zone": "ZONE",
    "int": "N",
    "request": "ID",
    "switch": "on|off",
}


class Verb(click.Command):
    """A command for one row of the verbs table, whose help tells what its arguments are."""

    def __init__(self, *args: Any, of: Command, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.needed = [argument for argument in of.arguments if argument.required]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """click: the arguments, then the options."""
        if self.needed:
            with formatter.section("Arguments"):
                formatter.write_dl([(_metavar(one), one.help) for one in self.needed])
        super().format_options(ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """click: what comes last, which is an example."""
        given = [_SAMPLES.get(one.kind) or _SAMPLES[one.name] for one in self.needed]
        if given:
            with formatter.section("Example"):
                formatter.write_text(" ".join((ctx.command_path, *given)))


class Question(Struct, frozen=True):
    """What must be asked before a verb runs; None: nothing."""

    question: str | None


@click.group(cls=ListGroup)
def backends() -> None:
    """List backends, and change how they are used."""


@backends.command("list")
@json_option
@connected
def list_backends(client: Client, as_json: bool) -> None:
    """List all backends and how they are."""
    snapshot = client.get("/nexus/v1/state", Snapshot)
    if as_json:
        show_json(snapshot.backends)
    elif snapshot.backends:
        header = ("NAME", "TYPE", "STATE", "ZONE", "PRIORITY", "BUSY", "MODELS", "URL", "REASON")
        rows = [_row(backend, snapshot) for backend in snapshot.backends]
        show_table(header, rows, right=("PRIORITY", "BUSY", "MODELS"))
        if snapshot.airplane:
            remark("Airplane mode is on: nothing is sent to clouds. `nexus airplane off` ends it.")
    else:
        remark("No backends yet. `nexus backends add URL` adds one, `nexus doctor` looks for them.")


def _row(backend: BackendView, snapshot: Snapshot) -> tuple[str, ...]:
    slots = "?" if backend.slots is None else str(backend.slots)
    is_grounded = snapshot.airplane and is_away(backend.is_cloud, backend.zone)
    grounded = "airplane mode" if is_grounded else ""
    reason = grounded or backend.reason or ("" if backend.accepted else "not accepted yet")
    return (
        backend.name,
        backend.type.value,
        backend.state.value,
        backend.zone.label,
        str(backend.priority),
        f"{backend.in_flight}/{slots}",
        str(len(backend.models)),
        backend.url,
        reason,
    )


def _tell(_client: Client, result: Result, as_json: bool) -> None:
    if as_json:
        show_json(result)
    else:
        say(result.message)


def verb(
    name: str, command: Command, then: Callable[[Client, Result, bool], None] = _tell
) -> click.Command:
    """The click command for one row of the verbs table; `then` tells what came of it."""
    known = {argument.name for argument in command.arguments}

    @json_option
    @connected
    def run(client: Client, as_json: bool, yes: bool = False, **arguments: Any) -> None:
        said = {name: value for name, value in arguments.items() if value not in (None, ())}
        given = {name: value for name, value in said.items() if name in known}
        if command.danger is not Danger.NONE and not yes and sys.stdin.isatty():
            _ask(client, command, given)
        then(client, client.post(f"{VERBS}/{command.name}", given, Result), as_json)

    for argument in reversed(command.arguments):
        run = _parameter(argument)(run)
    if command.danger is not Danger.NONE:
        run = click.option("--yes", "-y", is_flag=True, help="Do not ask.")(run)
    return click.command(name, cls=Verb, of=command, help=command.help)(run)


def _parameter(argument: Argument) -> Callable[[Callable[..., None]], Callable[..., None]]:
    if not argument.required:
        return click.option(f"--{argument.name}", type=_type(argument), help=argument.help)
    if argument.kind == "words":
        return click.argument(argument.name, nargs=-1, metavar=f"[{argument.name.upper()}]...")
    return click.argument(
        argument.name,
        type=_type(argument),
        metavar=_metavar(argument),
        shell_complete=completing(argument.kind),
    )


def _metavar(argument: Argument) -> str:
    return _METAVARS.get(argument.kind, argument.name.upper())


def _type(argument: Argument) -> click.ParamType[Any] | None:
    match argument.kind:
        case "zone":
            return click.Choice([zone.label for zone in Zone], case_sensitive=False)
        case "type":
            return click.Choice([kind.value for kind in BackendType], case_sensitive=False)
        case "switch":
            return click.Choice(["on", "off"], case_sensitive=False)
        case "int":
            return click.INT
        case _:
            return None


def _ask(client: Client, command: Command, arguments: Mapping[str, Any]) -> None:
    """Raises `CommandError` where the person says no."""
    path = f"{VERBS}/{command.name}/consequence"
    question = client.post(path, arguments, Question).question
    if question is None:
        return
    remark(question)
    if command.danger is Danger.TYPE_NAME:
        name = str(arguments["backend"])
        agreed = click.prompt(f"Type {name} to go on", default="", err=True) == name
    else:
        agreed = click.confirm("Go on?", err=True)
    if not agreed:
        raise CommandError("nothing was changed")


backends.add_command(show)
for _command in COMMANDS:
    if _command.name.startswith(PREFIX):
        backends.add_command(verb(_command.name.removeprefix(PREFIX), _command))
