"""`nexus config`: write an example, check a file, show what is in force and where it came from;
and set a key of the file that a running gateway uses."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from nexus_proxy.cli.backends import verb
from nexus_proxy.cli.client import Client, gateway_url
from nexus_proxy.cli.exits import USAGE
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import json_option, remark, say, show_json
from nexus_proxy.cli.text import pad
from nexus_proxy.commands import BY_NAME
from nexus_proxy.config.atomic import content, replace
from nexus_proxy.config.check import check as problems_of
from nexus_proxy.config.example import annotated_example
from nexus_proxy.config.keys import flat, literal
from nexus_proxy.config.load import find, load, places
from nexus_proxy.config.model import Loaded
from nexus_proxy.config.paths import FILE_NAME
from nexus_proxy.config.settings import Setting
from nexus_proxy.errors import CommandError

WIDEST_VALUE = 32
"""Columns. Longer values push their origin to the right instead of all the others'."""


class Running(Struct, frozen=True):
    """The answer of `/nexus/v1/config`."""

    path: str | None
    values: list[Setting]


@click.group()
def config() -> None:
    """The configuration: an example, a check, what is in force."""


@config.command()
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    default=FILE_NAME,
    show_default=True,
    help="Where to write it.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(output: Path, force: bool) -> None:
    """Write an example with every key, explained."""
    if os.path.lexists(output) and not force:
        raise CommandError(f"{output} exists already; --force replaces it")
    try:
        replace(output, annotated_example().encode(), expected=content(output))
    except OSError as error:
        raise CommandError(f"{output} cannot be written: {error.strerror}") from None
    say(f"{output} written; every setting in it is off until its # is taken away")


@config.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_context
def check(context: click.Context, path: Path | None, as_json: bool) -> None:
    """Say everything that is wrong with PATH, or with the file in use."""
    used = path or find(context.ensure_object(RunOptions).config, os.environ)
    problems = problems_of(used, os.environ)
    if as_json:
        show_json({"file": used and str(used), "problems": [vars(p) for p in problems]})
    elif problems:
        for problem in problems:
            remark(str(problem))
    else:
        say(f"{used} is valid" if used else "there is no file; the defaults are valid")
    if problems:
        context.exit(USAGE)


@config.command()
@json_option
@click.option("--url", "gateway", metavar="URL", help="What is in force in the gateway there.")
@click.make_pass_decorator(RunOptions, ensure=True)
def show(options: RunOptions, as_json: bool, gateway: str | None) -> None:
    """Show every value in force here, or in the gateway at --url, and where it came from."""
    if gateway is None:
        loaded = load(options.config, environ=os.environ, flags=options.flags())
        told: object = loaded
        lines = _lines(_of_here(loaded))
    else:
        with Client(gateway_url(gateway, options)) as client:
            running = client.get("/nexus/v1/config", Running)
        told, lines = running, _lines((one.key, one.value, one.origin) for one in running.values)
    if as_json:
        show_json(told)
        return
    for line in lines:
        say(line)


@config.command()
@json_option
@click.make_pass_decorator(RunOptions, ensure=True)
def path(options: RunOptions, as_json: bool) -> None:
    """Show which file is used and, on standard error, where it is looked for."""
    used = find(options.config, os.environ)
    if as_json:
        looked = places(options.config, os.environ)
        paths = [{"by": by, "path": place and str(place)} for by, place, _ in looked]
        show_json({"file": used and str(used), "looked_for": paths})
        return
    if used:
        say(str(used))
    else:
        remark("no file is in use: the defaults are")
    remark("looked for here, the first one wins:")
    for label, place, _required in places(options.config, os.environ):
        if place is None:
            state = "not given"
        elif place == used:
            state = f"{place} (in use)"
        else:
            state = f"{place} ({'not needed' if os.path.lexists(place) else 'not there'})"
        remark(f"  {label:<14} {state}")


for _name in ("set", "unset", "reload"):
    config.add_command(verb(_name, BY_NAME[f"config.{_name}"]))


def _of_here(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    for key, value in flat(msgspec.to_builtins(loaded.config)).items():
        yield key, value, loaded.origins[key]


def _lines(settings: Iterable[tuple[str, Any, str]]) -> Iterator[str]:
    values = [(key, literal(value), origin) for key, value, origin in settings]
    key_width = max(len(key) for key, _, _ in values)
    value_width = min(WIDEST_VALUE, max(len(value) for _, value, _ in values))
    for key, value, origin in values:
        yield f"{pad(key, key_width)} = {pad(value, value_width)}  # {origin}"
