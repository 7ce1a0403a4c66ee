"""What commands print: JSON for programs, sentences and tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar

import click
import msgspec

from nexus_proxy.cli.text import clean, table

LONGEST_SENTENCE = 2000

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def limit_option(default: int, help: str) -> Callable[[Command], Command]:
    """`--limit`: of how many a command tells."""
    return click.option(
        "--limit", "-n", type=click.IntRange(0), default=default, show_default=True, help=help
    )


def show_json(value: Any) -> None:
    """`value` (structs, dicts, lists) as indented ASCII JSON."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=2))


def show_json_line(value: Any) -> None:
    """`value` as JSON on one line."""
    click.echo(json.dumps(msgspec.to_builtins(value)))


def show_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = ()
) -> None:
    """A table of foreign text."""
    for line in table(header, rows, right=right):
        click.echo(line)


def say(sentence: str) -> None:
    """One line of foreign text."""
    click.echo(clean(sentence, LONGEST_SENTENCE))


def remark(sentence: str) -> None:
    """A word to the person before the terminal, which no program shall read."""
    click.echo(clean(sentence, LONGEST_SENTENCE), err=True)


def complain(sentence: str) -> None:
    """What went wrong, on standard error."""
    remark(f"Error: {sentence}")
