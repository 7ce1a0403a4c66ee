"""`nexus logs`: the last lines of a running gateway's log, and those that come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

import click
from msgspec import Struct

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, limit_option, remark, show_json, show_json_line
from nexus_proxy.cli.text import clean
from nexus_proxy.state import LogLine
from nexus_proxy.telemetry.logs import LEVELS, pretty

ROUTE = "/nexus/v1/logs"
DEFAULT_LIMIT = 50
LOOK_SECONDS = 1.0
LATE_SECONDS = 5.0
"""A line may come that much after one that is younger: requests are told some at a time."""
REMEMBERED = 2000
LONGEST_LINE = 2000


class Lines(Struct, frozen=True):
    """The answer of `ROUTE`."""

    lines: list[LogLine]


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on, with each line as it comes.")
@limit_option(DEFAULT_LIMIT, "How many, at most those that the gateway keeps.")
@click.option("--level", type=click.Choice(LEVELS), help="Only lines of this level and above.")
@click.option("--component", help="Only lines of this part, such as request or gateway.")
@json_option
@connected
def logs(
    client: Client,
    follow: bool,
    limit: int,
    level: str | None,
    component: str | None,
    as_json: bool,
) -> None:
    """Show the last lines of the gateway's log, oldest first.

    With --follow and --json: one object a line.
    """
    given = {"level": level, "component": component}
    wanted: dict[str, str | int] = {name: value for name, value in given.items() if value}
    if follow:
        for line in _coming(client, wanted, limit):
            show_json_line(line) if as_json else _show(line)
        return
    lines = client.get(ROUTE, Lines, {**wanted, "limit": limit}).lines
    if as_json:
        show_json(lines)
    elif not lines:
        remark("No such lines are kept.")
    for line in [] if as_json else lines:
        _show(line)


def _coming(client: Client, wanted: dict[str, str | int], limit: int) -> Iterator[LogLine]:
    """The last lines, then each that comes."""
    shown: deque[LogLine] = deque(maxlen=REMEMBERED)
    lines = client.get(ROUTE, Lines, wanted).lines
    shown.extend(lines)
    yield from lines[max(0, len(lines) - limit) :]
    while True:
        time.sleep(LOOK_SECONDS)
        newest = max((line.at for line in shown), default=0.0)
        query = {**wanted, "since": repr(newest - LATE_SECONDS)}
        for line in client.get(ROUTE, Lines, query).lines:
            if line not in shown:
                shown.append(line)
                yield line


def _show(line: LogLine) -> None:
    click.echo(clean(pretty(line, "" if line.worker is None else f"w{line.worker} "), LONGEST_LINE))
