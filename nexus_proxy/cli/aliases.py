"""`nexus aliases` and `nexus fallbacks`: which model serves for a name, and which for a model."""

from __future__ import annotations

import click

from nexus_proxy.cli.backends import verb
from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.listing import ListGroup
from nexus_proxy.cli.output import json_option, remark, show_json, show_table
from nexus_proxy.commands import BY_NAME
from nexus_proxy.state import Snapshot


@click.group(cls=ListGroup)
def aliases() -> None:
    """Names that stand for models."""


@aliases.command("list")
@json_option
@connected
def list_aliases(client: Client, as_json: bool) -> None:
    """List all aliases and what they stand for."""
    found = client.get("/nexus/v1/state", Snapshot).aliases
    if as_json:
        show_json(found)
    elif found:
        show_table(("ALIAS", "MODEL"), [*found.items()])
    else:
        remark("No aliases. `nexus aliases set ALIAS MODEL` makes one; ALIAS may be a glob.")


@click.group(cls=ListGroup)
def fallbacks() -> None:
    """Models that are tried where another cannot be served."""


@fallbacks.command("list")
@json_option
@connected
def list_fallbacks(client: Client, as_json: bool) -> None:
    """List all models that have fallbacks, and these in order."""
    found = client.get("/nexus/v1/state", Snapshot).fallbacks
    if as_json:
        show_json(found)
    elif found:
        rows = [(model, ", ".join(others)) for model, others in found.items()]
        show_table(("MODEL", "FALLS BACK TO"), rows)
    else:
        remark("No fallbacks. `nexus fallbacks set MODEL OTHER…` lets another model serve.")


for _name in ("set", "remove"):
    aliases.add_command(verb(_name, BY_NAME[f"alias.{_name}"]))
    fallbacks.add_command(verb(_name, BY_NAME[f"fallback.{_name}"]))
