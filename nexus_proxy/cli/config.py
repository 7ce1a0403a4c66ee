"""`nexus config`: write an example, check a file, show what is in force and where it came from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec

from nexus_proxy.config.atomic import content, replace
from nexus_proxy.config.check import check as problems_of
from nexus_proxy.config.example import annotated_example
from nexus_proxy.config.keys import flat, literal
from nexus_proxy.config.load import find, load, places
from nexus_proxy.config.model import Loaded
from nexus_proxy.config.paths import FILE_NAME
from nexus_proxy.errors import ConfigError

WIDEST_VALUE = 32
"""Columns. Longer values push their origin to the right instead of all the others'."""

_file_option = click.option(
    "--config", "-c", "explicit", metavar="PATH", help="Configuration file to use."
)


class InvalidConfig(click.ClickException):
    """The configuration cannot be used."""

    exit_code = 2


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
        raise click.ClickException(f"{output} exists already; --force replaces it")
    try:
        replace(output, annotated_example().encode(), expected=content(output))
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from None
    click.echo(f"{output} written; every setting in it is off until its # is taken away")


@config.command()
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.pass_context
def check(context: click.Context, path: Path | None) -> None:
    """Say everything that is wrong with PATH, or with the file in use."""
    with _refused():
        used = path or find(_explicit(None), os.environ)
    problems = problems_of(used, os.environ)
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        context.exit(InvalidConfig.exit_code)
    click.echo(f"{used} is valid" if used else "there is no file; the defaults are valid")


@config.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@_file_option
def show(as_json: bool, explicit: str | None) -> None:
    """Show every value in force, and where it came from."""
    with _refused():
        loaded = load(_explicit(explicit), environ=os.environ)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(loaded), indent=2))
        return
    for line in _lines(loaded):
        click.echo(line)


@config.command()
@_file_option
def path(explicit: str | None) -> None:
    """Show which file is used, and where it is looked for."""
    with _refused():
        used = find(_explicit(explicit), os.environ)
    click.echo(used or "no file is in use: the defaults are")
    click.echo("\nlooked for here, the first one wins:")
    for label, place, _required in places(_explicit(explicit), os.environ):
        if place is None:
            state = "not given"
        elif place == used:
            state = f"{place} (in use)"
        else:
            state = f"{place} ({'not needed' if os.path.lexists(place) else 'not there'})"
        click.echo(f"  {label:<14} {state}")


def _lines(loaded: Loaded) -> Iterator[str]:
    values = {k: literal(v) for k, v in flat(msgspec.to_builtins(loaded.config)).items()}
    key_width = max(map(len, values))
    value_width = min(WIDEST_VALUE, max(map(len, values.values())))
    for key, value in values.items():
        yield f"{key:<{key_width}} = {value:<{value_width}}  # {loaded.origins[key]}"


def _explicit(given: str | None) -> str | None:
    """The `--config` of this command, or else the one before `config` on the command line."""
    return given or click.get_current_context().find_root().params.get("config")


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        raise InvalidConfig(str(error)) from None
