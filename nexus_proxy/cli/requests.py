"""`nexus requests`: what ran, what runs, and what comes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Any, NoReturn
from urllib.parse import quote

import click
from msgspec import Struct

from nexus_proxy.cli.backends import verb
from nexus_proxy.cli.client import Client, gateway_url, url_option
from nexus_proxy.cli.completing import completing, words
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.cli.output import (
    json_option,
    limit_option,
    remark,
    show_json,
    show_json_line,
    show_table,
)
from nexus_proxy.cli.text import clean, milliseconds, pad, tokens
from nexus_proxy.commands import BY_NAME
from nexus_proxy.errors import CommandError, GatewayUnreachableError
from nexus_proxy.state import OVER, RequestView

REQUESTS = "/nexus/v1/requests"
DEFAULT_LIMIT = 20
REMEMBERED = 2000
"""Requests shown that are not shown again: twice as many as a gateway keeps."""
_RUNNING = "running"
_STATUSES = (_RUNNING, *(phase.value for phase in OVER))
_COLUMNS = (
    ("TIME", 8),
    ("ID", 20),
    ("ENDPOINT", 11),
    ("MODEL", 24),
    ("BACKEND", 16),
    ("PHASE", 9),
    ("STATUS", 6),
    ("FIRST", 8),
    ("TOTAL", 8),
    ("TOKENS", 6),
)
"""With the least widths that keep lines that come one by one in step."""


class Requests(Struct, frozen=True):
    """The answer of `/nexus/v1/requests`."""

    requests: list[RequestView]


class Wanted(Struct, frozen=True, kw_only=True):
    """Which requests are told of; None: whichever."""

    model: str | None = None
    backend: str | None = None
    key: str | None = None
    status: str | None = None

    def __post_init__(self) -> None:
        status = self.status
        if status is not None and not status.isdigit() and status not in _STATUSES:
            known = ", ".join(_STATUSES)
            raise click.BadParameter(
                f"it is an HTTP status, or one of {known}", param_hint="--status"
            )

    @property
    def is_all(self) -> bool:
        """Nothing is left out."""
        return self == Wanted()

    def fits(self, view: RequestView) -> bool:
        """Whether a request is one of them."""
        phase = view.phase.value if view.phase in OVER else _RUNNING
        return (
            self.model in (None, view.model_asked, view.model)
            and self.backend in (None, view.backend)
            and self.key in (None, view.key)
            and self.status in (None, phase, str(view.status))
        )


@click.group(invoke_without_command=True)
@click.option("--follow", "-f", is_flag=True, help="Go on, with each request as it ends.")
@limit_option(DEFAULT_LIMIT, "How many.")
@click.option(
    "--model",
    shell_complete=completing("model"),
    help="Only those that asked for it, or were served by it.",
)
@click.option(
    "--backend", shell_complete=completing("backend"), help="Only those that it answered."
)
@click.option("--key", shell_complete=completing("key"), help="Only those with this API key.")
@click.option(
    "--status",
    metavar="STATUS",
    shell_complete=words(*_STATUSES),
    help="Only those that are running, done, failed or cancelled, or ended with this HTTP status.",
)
@json_option
@url_option
@click.pass_context
def requests(
    context: click.Context,
    /,
    follow: bool,
    limit: int,
    as_json: bool,
    gateway: str | None,
    **wanted: str | None,
) -> None:
    """List the last requests, oldest first; running ones too.

    With --follow and --json: one object a line.
    """
    if context.invoked_subcommand is None:
        chosen = Wanted(**wanted)
        with Client(gateway_url(gateway, context.ensure_object(RunOptions))) as client:
            if follow:
                _follow(client, chosen, limit, as_json)
            _list(client, chosen, limit, as_json)


requests.add_command(verb("cancel", BY_NAME["request.cancel"]))


def _list(client: Client, wanted: Wanted, limit: int, as_json: bool) -> None:
    query = {"limit": limit} if wanted.is_all else {}
    found = client.get(REQUESTS, Requests, query).requests
    views = [view for view in found if wanted.fits(view)][:limit][::-1]
    if as_json:
        show_json(views)
    elif views:
        show_table([name for name, _ in _COLUMNS], [_row(view) for view in views])
    else:
        none = "No requests yet since the gateway started; earlier ones are in its log."
        remark(none if wanted.is_all else "None of the kept requests is so.")


def _follow(client: Client, wanted: Wanted, limit: int, as_json: bool) -> NoReturn:
    events = client.events()
    next(events)  # the greeting: from now on nothing is missed
    if not as_json:
        click.echo(_line([name for name, _ in _COLUMNS]))
    for view in _ending(client, wanted, events, limit):
        if as_json:
            show_json_line(view)
        else:
            click.echo(_line(_row(view)))
    raise GatewayUnreachableError(f"the gateway at {client.url} stopped")


def _ending(
    client: Client, wanted: Wanted, events: Iterator[dict[str, Any]], limit: int
) -> Iterator[RequestView]:
    """The last `limit` requests that ended, then each that ends, until the gateway stops.

    A request is known by its id and start, since a client may use an id twice.
    """
    before = _ended(client)
    shown = deque(map(_key, before), maxlen=REMEMBERED)
    fitting = list(filter(wanted.fits, before))
    yield from fitting[max(0, len(fitting) - limit) :]
    for event in events:
        match event:
            case {"type": "RequestFinished", "id": str(request_id)}:
                views = _found(client, request_id)
            case {"type": "lagged"}:
                views = _ended(client)
            case _:
                continue
        for view in views:
            if _key(view) not in shown:
                shown.append(_key(view))
                if wanted.fits(view):
                    yield view


def _key(view: RequestView) -> tuple[str, float]:
    return view.id, view.started


def _ended(client: Client) -> list[RequestView]:
    """Oldest first."""
    views = client.get(REQUESTS, Requests).requests[::-1]
    return [view for view in views if view.phase in OVER]


def _found(client: Client, request_id: str) -> list[RequestView]:
    try:
        return [client.get(f"/nexus/v1/why/{quote(request_id, safe='')}", RequestView)]
    except CommandError:  # so busy that it was forgotten before we could ask
        return []


def _row(view: RequestView) -> tuple[str, ...]:
    return (
        time.strftime("%H:%M:%S", time.localtime(view.started)),
        view.id,
        view.endpoint,
        view.model_asked,
        view.backend or "-",
        view.phase.value,
        "-" if view.status is None else str(view.status),
        milliseconds(view.first_token_ms),
        milliseconds(view.total_ms),
        tokens(view.completion_tokens),
    )


def _line(cells: tuple[str, ...] | list[str]) -> str:
    padded = (pad(clean(cell), least) for cell, (_, least) in zip(cells, _COLUMNS, strict=True))
    return "  ".join(padded).rstrip()
