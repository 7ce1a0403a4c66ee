"""`nexus fleet`: what to have loaded where, and by when."""

from __future__ import annotations

import click

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.output import json_option, remark, say, show_json, show_table
from nexus_proxy.fleet.advise import FleetReport, Recommendation

_COLUMNS = ("MODEL", "LOAD ON", "BY", "DAYS", "SURE", "WHY")


@click.command()
@json_option
@connected
def fleet(client: Client, as_json: bool) -> None:
    """Advise which models to load where and when, by the hours of past requests.

    Nothing is done by itself: `nexus models load MODEL BACKEND` loads one. SURE is 0 to 100 %.
    """
    found = client.get("/v1/fleet/recommendations", FleetReport)
    if as_json:
        show_json(found)
        return
    if found.recommendations:
        show_table(_COLUMNS, [_row(one) for one in found.recommendations], right=("SURE",))
    if found.note is not None:
        remark(f"No advice: {found.note}.")
    for sentence in found.left_out:
        say(f"Left out: {sentence}")


def _row(one: Recommendation) -> tuple[str, ...]:
    sure = f"{one.confidence_score:.0%}"
    target = one.target_backend_ids[0]
    return one.model_id, target, one.load_at, one.days, sure, one.reasoning
