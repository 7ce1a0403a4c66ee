"""`nexus models load`, `unload`, `migrate` and `operations`: models in the memory of backends."""

from __future__ import annotations

import sys
import time

import click
import msgspec
from msgspec import Struct

from nexus_proxy.cli.backends import verb
from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.cli.text import clean
from nexus_proxy.commands import BY_NAME, Result
from nexus_proxy.errors import CommandError
from nexus_proxy.lifecycle.operation import Report, report
from nexus_proxy.state import OperationPhase, OperationView

ROUTE = "/v1/lifecycle/operations"
LOOK_SECONDS = 0.3
_WIPE = "\r\x1b[K"

no_wait = click.option("--no-wait", is_flag=True, help="Begin it, and do not wait for its end.")


class Operations(Struct, frozen=True):
    """The answer of `ROUTE`."""

    operations: list[Report]


def running(client: Client) -> list[Report]:
    """What goes on now; nothing where the management API is closed to us."""
    try:
        found = client.get(ROUTE, Operations).operations
    except CommandError:
        return []
    return [one for one in found if one.ended_at is None]


def told(one: Report) -> str:
    """How an operation stands: `loading qwen3:8b on box: 12 s of about 20 s`."""
    if one.phase is not OperationPhase.LOADING:
        return one.message
    about = "" if one.eta_seconds is None else f" of about {max(1, round(one.eta_seconds))} s"
    return f"loading {one.model_id} on {one.acts_on}: {one.phase_seconds:.0f} s{about}"


def _follow(client: Client, result: Result, as_json: bool) -> None:
    """Tell how it goes until it is over. Raises `CommandError` where it failed."""
    view = msgspec.convert(result.data["operation"], OperationView)
    if click.get_current_context().params["no_wait"]:
        if as_json:
            show_json(report(view, time.time()))
        else:
            say(result.message)
        return
    live = sys.stderr.isatty() and not as_json
    shown = ""
    while True:
        one = _find(client, view.id)
        if one.ended_at is not None:
            break
        line = told(one) if live else one.message
        if line != shown and not as_json:
            click.echo(f"{_WIPE}{clean(line)}" if live else clean(line), err=True, nl=not live)
            shown = line
        time.sleep(LOOK_SECONDS)
    if live:
        click.echo(_WIPE, err=True, nl=False)
    if as_json:
        show_json(one)
    if one.error is not None:
        raise CommandError(one.message)
    if not as_json:
        say(one.message)


def _find(client: Client, id_: str) -> Report:
    for one in client.get(ROUTE, Operations).operations:
        if one.operation_id == id_:
            return one
    raise CommandError(f"the gateway knows nothing of {id_} any more; did it start again?")


@click.command("operations")
@json_option
@connected
def operations(client: Client, as_json: bool) -> None:
    """List the models that are loaded, unloaded or moved now, and the last ones that were."""
    found = client.get(ROUTE, Operations).operations
    if as_json:
        show_json(found)
    elif found:
        header = ("ID", "WHAT", "MODEL", "BACKEND", "STATE", "HOW IT STANDS")
        show_table(header, [_row(one) for one in found])
    else:
        remark("No model was loaded or unloaded. `nexus models load MODEL BACKEND` loads one.")


def _row(one: Report) -> tuple[str, ...]:
    where = one.backend_id
    if one.target_backend_id is not None:
        where = f"{one.backend_id} to {one.target_backend_id}"
    return one.operation_id, one.type.value, one.model_id, where, one.phase.value, told(one)


COMMANDS: dict[str, click.Command] = {
    name: no_wait(verb(name, BY_NAME[f"model.{name}"], _follow))
    for name in ("load", "unload", "migrate")
}
COMMANDS["operations"] = operations
