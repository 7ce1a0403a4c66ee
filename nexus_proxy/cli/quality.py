"""`nexus quality`: how well each backend serves each model."""

from __future__ import annotations

import time

import click
from msgspec import Struct

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.cli.text import milliseconds
from nexus_proxy.state import QualityState, QualityView

_HEADER = (
    *("MODEL", "BACKEND", "SCORE", "STATE", "REQUESTS", "FAULTS", "CUT"),
    *("P50", "P95", "TOK/S", "24 H", "FAULTS 24 H"),
)
_RIGHT = tuple(name for name in _HEADER if name not in {"MODEL", "BACKEND", "STATE"})


class Quality(Struct, frozen=True):
    """The answer of `/nexus/v1/quality`."""

    quality: list[QualityView]


@click.command()
@json_option
@connected
def quality(client: Client, as_json: bool) -> None:
    """Show how well each backend serves each model, and which are left out.

    SCORE is 0 to 100, from success, cut streams, first-token time and tokens per second; `-` until
    there are enough requests. REQUESTS, FAULTS, CUT, P50, P95 (first token) and TOK/S are of the
    last hour. Mistakes of callers and clients that left count nowhere.
    """
    views = client.get("/nexus/v1/quality", Quality).quality
    if as_json:
        show_json(views)
    elif not views:
        remark("No request has reached a backend yet.")
    else:
        show_table(_HEADER, [_row(view) for view in views], right=_RIGHT)
        for view in views:
            if view.state is not QualityState.IN_USE:
                say(_why(view))


def _row(view: QualityView) -> tuple[str, ...]:
    hour, day = view.hour, view.day
    rate = hour.tokens_per_second
    return (
        view.model,
        view.backend,
        "-" if view.score is None else f"{view.score:.0f}",
        view.state.value,
        str(hour.requests),
        str(hour.faults),
        str(hour.cuts),
        milliseconds(hour.first_token_p50_ms),
        milliseconds(hour.first_token_p95_ms),
        "-" if rate is None else f"{rate:.0f}",
        str(day.requests),
        str(day.faults),
    )


def _why(view: QualityView) -> str:
    if view.state is QualityState.HALF_OPEN or view.excluded_until is None:
        then = "one request at a time tries it again"
    else:
        clock = time.strftime("%H:%M:%S", time.localtime(view.excluded_until))
        then = f"it is tried again from {clock} on"
    who = f"{view.backend} is left out for {view.model} while another can serve"
    return f"{who}: {view.reason}; {then}."
