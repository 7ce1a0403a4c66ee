"""`nexus logs`: the last lines of a running gateway's log, and those that come."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
from msgspec import Struct
from msgspec.structs import replace

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
LONGEST_LINE = 2000


class Lines(Struct, frozen=True):
    """The answer of `ROUTE`."""

    lines: list[LogLine]
    oldest: float | None
    """When the first line that the gateway keeps was written; None: it keeps none."""
    newest: float | None


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
    """The last lines, then each that comes.

    It asks again and again rather than listening, since lines come late as it is (requests are
    told some at a time, off their way, and workers' lines are put in order), and since a listener
    would have to be told from whatever thread logs, and across workers. A question takes the
    gateway some milliseconds.
    """
    told = client.get(ROUTE, Lines, wanted)
    yield from told.lines[max(0, len(told.lines) - limit) :]
    while True:
        time.sleep(LOOK_SECONDS)
        seen = set(told.lines)
        since = max((line.at for line in told.lines), default=0.0) - LATE_SECONDS
        before, told = told, client.get(ROUTE, Lines, {**wanted, "since": repr(since)})
        if before.newest is not None and (told.oldest or 0.0) > before.newest:
            remark("Some lines are missing here: more came at once than the gateway keeps.")
        yield from (line for line in told.lines if line not in seen)
        if not told.lines:
            told = replace(told, lines=before.lines)


def _show(line: LogLine) -> None:
    click.echo(clean(pretty(line, "" if line.worker is None else f"w{line.worker} "), LONGEST_LINE))
