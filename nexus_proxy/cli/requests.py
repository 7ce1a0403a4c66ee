"""`nexus requests`: what ran, what runs, and what comes."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
from msgspec import Struct

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, show_json, show_json_line, show_table
from nexus_proxy.cli.text import clean, milliseconds, pad, tokens
from nexus_proxy.errors import CommandError, GatewayUnreachableError
from nexus_proxy.state import RequestPhase, RequestView

DEFAULT_LIMIT = 20
_ENDED = (RequestPhase.DONE, RequestPhase.FAILED, RequestPhase.CANCELLED)
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


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on, with each request as it ends.")
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(0),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="How many.",
)
@json_option
@connected
def requests(client: Client, follow: bool, limit: int, as_json: bool) -> None:
    """List the last requests, oldest first; running ones too.

    With --follow and --json: one object a line.
    """
    views = client.get("/nexus/v1/requests", Requests, {"limit": limit}).requests[::-1]
    if follow:
        _follow(client, [view for view in views if view.phase in _ENDED], as_json)
    elif as_json:
        show_json(views)
    elif views:
        show_table([name for name, _ in _COLUMNS], [_row(view) for view in views])
    else:
        remark("No requests yet.")


def _follow(client: Client, before: list[RequestView], as_json: bool) -> None:
    if not as_json:
        click.echo(_line([name for name, _ in _COLUMNS]))
    for view in _with_those_to_come(client, before):
        if as_json:
            show_json_line(view)
        else:
            click.echo(_line(_row(view)))
    raise GatewayUnreachableError(f"the gateway at {client.url} stopped")


def _with_those_to_come(client: Client, before: list[RequestView]) -> Iterator[RequestView]:
    """`before`, then each request that ends. What ended between two looks is not missed."""
    shown = {view.id for view in before}
    yield from before
    for event in client.events():
        match event:
            case {"type": "RequestFinished", "id": str(request_id)} if request_id not in shown:
                shown.add(request_id)
                yield from _found(client, request_id)
            case {"type": "hello" | "lagged"}:
                for view in client.get("/nexus/v1/requests", Requests).requests[::-1]:
                    if view.phase in _ENDED and view.id not in shown and _is_news(view, before):
                        shown.add(view.id)
                        yield view


def _is_news(view: RequestView, before: list[RequestView]) -> bool:
    return not before or view.started >= before[0].started


def _found(client: Client, request_id: str) -> Iterator[RequestView]:
    try:
        yield client.get(f"/nexus/v1/why/{request_id}", RequestView)
    except CommandError:  # so busy that it was forgotten before we could ask
        return


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
