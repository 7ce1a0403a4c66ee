"""`nexus why` and `nexus route`: a decision that was made, or would be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from urllib.parse import quote

import click
from msgspec import Struct

from nexus_proxy.accounting.money import money
from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.completing import completing
from nexus_proxy.cli.output import json_option, say, show_json
from nexus_proxy.cli.text import GAP, clean, milliseconds, table, tokens
from nexus_proxy.config.model import Zone
from nexus_proxy.errors import CommandError
from nexus_proxy.state import AttemptView, DecisionView, RequestView


class Decisions(Struct, frozen=True):
    """The answer of `/nexus/v1/route`: a decision for the model and for each of its fallbacks."""

    decisions: list[DecisionView]


@click.command()
@click.argument("request_id")
@json_option
@connected
def why(client: Client, request_id: str, as_json: bool) -> None:
    """Explain where a request went: REQUEST_ID is its X-Request-Id."""
    view = client.get(f"/nexus/v1/why/{quote(request_id, safe='')}", RequestView)
    if as_json:
        show_json(view)
        return
    for line in _story(view):
        click.echo(line)


@click.command()
@click.argument("model", shell_complete=completing("model"))
@click.option(
    "--zone",
    type=click.Choice([zone.label for zone in Zone], case_sensitive=False),
    help="As X-Nexus-Zone: how closed a backend must be.",
)
@click.option("--tools", is_flag=True, help="The request has tools.")
@click.option("--vision", is_flag=True, help="The request has images.")
@click.option("--json-schema", is_flag=True, help="The answer must follow a schema.")
@click.option("--embeddings", is_flag=True, help="It asks for embeddings.")
@click.option("--prompt-tokens", type=click.IntRange(0), help="Length of the prompt.")
@click.option("--strict", is_flag=True, help="As X-Nexus-Strict: no fallback model.")
@click.option("--flexible", is_flag=True, help="As X-Nexus-Flexible: any model as good.")
@json_option
@connected
def route(client: Client, model: str, as_json: bool, **wishes: str | int | bool | None) -> None:
    """Say which backend a request for MODEL would go to, and why, without sending it.

    The exit code is 1 where nobody could serve it.
    """
    given = {name: value for name, value in wishes.items() if value not in (None, False)}
    found = client.post("/nexus/v1/route", {"model": model, **given}, Decisions)
    if as_json:
        show_json(found.decisions)
    else:
        for decision in found.decisions:
            for line in _decision(decision):
                click.echo(line)
            click.echo()
    chosen = next((d.candidates[0] for d in found.decisions if d.candidates), None)
    if chosen is None:
        raise CommandError(f"nobody could serve {model!r} now")
    if not as_json:
        say(f"it would go to {chosen.backend} as {chosen.model}")


def _story(view: RequestView) -> Iterator[str]:
    clock = time.strftime("%H:%M:%S", time.localtime(view.started))
    status = f" {view.status}" if view.status else ""
    where = f" on {view.backend}" if view.backend else ""
    yield clean(f"{view.id} at {clock}: {view.endpoint} {view.model_asked}{where}", 500)
    yield (
        f"{view.phase.value}{status} in {milliseconds(view.total_ms)}, first token "
        f"{milliseconds(view.first_token_ms)}, {tokens(view.prompt_tokens)} + "
        f"{tokens(view.completion_tokens)} tokens ({view.usage_source})"
    )
    if view.truncated is not None:
        yield f"the backend cut the prompt: {view.truncated}"
    if view.queued_ms is not None:
        yield f"it waited {milliseconds(view.queued_ms)} for a slot"
    if view.cost_source != "n/a":
        cost = "unknown" if view.cost_usd is None else money(view.cost_usd)
        yield f"cost {cost} ({view.cost_source})"
    if view.error:
        yield clean(view.error, 2000)
    for note in view.notes:
        yield clean(f"not carried over: {note}", 500)
    if view.decision is not None:
        yield ""
        yield from _decision(view.decision)
    if view.attempts:
        yield ""
        yield from _section("attempts", _attempts(view.attempts))


def _decision(decision: DecisionView) -> Iterator[str]:
    demands = [f"zone {decision.required_zone.label} or closer"]
    if decision.required_tier is not None:
        demands.append(f"tier {decision.required_tier} or better")
    if decision.needs:
        demands.append(f"with {', '.join(decision.needs)}")
    if decision.prompt_tokens:
        demands.append(f"about {decision.prompt_tokens} prompt tokens")
    yield clean(" -> ".join(decision.path), 500)
    yield f"{', '.join(demands)}; strategy {decision.strategy}" + (
        f"; reason {decision.route_reason}" if decision.route_reason else ""
    )
    yield from _section("stages", table(("STAGE", "RESULT"), decision.stages))
    if decision.candidates:
        yield from _section("candidates", _candidates(decision))
    if decision.rejections:
        yield from _section("left out", _rejections(decision))


def _candidates(decision: DecisionView) -> Iterator[str]:
    rows = [
        (
            candidate.backend,
            candidate.model,
            f"{candidate.score:.1f}",
            ", ".join(f"{name} {value:g}" for name, value in candidate.parts.items()),
        )
        for candidate in decision.candidates
    ]
    return table(("BACKEND", "MODEL", "SCORE", "PARTS"), rows, right=("SCORE",))


def _rejections(decision: DecisionView) -> Iterator[str]:
    rows = [(r.backend, r.model, r.stage, r.reason, r.fix or "-") for r in decision.rejections]
    return table(("BACKEND", "MODEL", "STAGE", "REASON", "FIX"), rows)


def _attempts(attempts: tuple[AttemptView, ...]) -> Iterator[str]:
    rows = [
        (
            attempt.backend,
            attempt.model,
            milliseconds(attempt.connect_ms),
            milliseconds(attempt.first_token_ms),
            milliseconds(attempt.total_ms),
            attempt.error or "answered",
        )
        for attempt in attempts
    ]
    header = ("BACKEND", "MODEL", "CONNECT", "FIRST", "TOTAL", "RESULT")
    return table(header, rows, right=("CONNECT", "FIRST", "TOTAL"))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    yield f"{title}:"
    for line in lines:
        yield GAP + line
