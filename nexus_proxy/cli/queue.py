"""`nexus queue`: who waits for a slot, and for whose."""

from __future__ import annotations

import time

import click

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, show_json, show_table
from nexus_proxy.cli.text import milliseconds
from nexus_proxy.state import QueueView, WaiterView

_COLUMNS = ("#", "ID", "MODEL", "PRIORITY", "WAITING", "ETA", "WAITS FOR")


@click.command()
@json_option
@connected
def queue(client: Client, as_json: bool) -> None:
    """List the requests that wait for a slot, in the order of service.

    ETA is reckoned from how long requests held their slots so far; - where nothing was measured.
    """
    found = client.get("/nexus/v1/queue", QueueView)
    if as_json:
        show_json(found)
    elif found.waiting:
        now = time.time()
        show_table(_COLUMNS, [_row(view, now) for view in found.waiting], right=("#",))
    elif found.enabled:
        remark(
            f"Nobody waits. {found.max_size} requests may, for {found.max_wait_seconds:g} s each, "
            "while all backends that could serve them are busy."
        )
    else:
        remark("The queue is off: while all are busy, requests are refused (queue.enabled).")


def _row(view: WaiterView, now: float) -> tuple[str, ...]:
    return (
        str(view.position),
        view.id,
        view.model,
        view.priority.value,
        milliseconds(max(0.0, now - view.since) * 1000),
        milliseconds(None if view.eta_seconds is None else view.eta_seconds * 1000),
        "; ".join(f"{obstacle.backend}: {obstacle.why}" for obstacle in view.waits_for),
    )
