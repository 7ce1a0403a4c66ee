"""`nexus backends show`: everything about one backend."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
from msgspec import Struct

from nexus_proxy.cli.client import Client, connected
from nexus_proxy.cli.completing import completing
from nexus_proxy.cli.output import json_option, say, show_json
from nexus_proxy.cli.text import milliseconds, pad, table, tokens, uptime
from nexus_proxy.errors import NotFoundError
from nexus_proxy.state import BackendTrend, BackendView, ModelInfo, QualityView, Snapshot

_LABEL = 12


class Story(Struct, frozen=True, kw_only=True):
    """One backend: how it is, what it did in the last minutes, and how well, model by model."""

    backend: BackendView
    trend: BackendTrend | None
    quality: list[QualityView]


@click.command()
@click.argument("backend", metavar="NAME", shell_complete=completing("backend"))
@json_option
@connected
def show(client: Client, backend: str, as_json: bool) -> None:
    """Show everything about one backend: its state, settings, load, speed, errors and models."""
    state = client.get("/nexus/v1/state", Snapshot)
    view = next((one for one in state.backends if one.name == backend), None)
    if view is None:
        known = ", ".join(one.name for one in state.backends) or "none"
        raise NotFoundError(f"no backend is called {backend!r} (there are: {known})")
    quality = [one for one in state.quality if one.backend == backend]
    story = Story(backend=view, trend=state.trends.get(backend), quality=quality)
    if as_json:
        show_json(story)
        return
    for line in _lines(story, time.time()):
        say(line)


def _lines(story: Story, now: float) -> Iterator[str]:
    view = story.backend
    for label, value in (*_identity(view, now), *_load(view), *_lately(story.trend)):
        if value:
            yield f"{pad(label, _LABEL)}  {value}"
    for error in view.recent_errors:
        yield f"{pad('failed with', _LABEL)}  {error}"
    if view.models:
        yield ""
        header = ("MODEL", "CONTEXT", "MEMORY", "SCORE", "CAPABILITIES")
        scores = {one.model: one.score for one in story.quality}
        rows = [_row(model, scores.get(model.id)) for model in view.models]
        yield from table(header, rows, right=("CONTEXT", "SCORE"))


def _identity(view: BackendView, now: float) -> Iterator[tuple[str, str]]:
    yield "name", view.name
    yield "state", f"{view.state.value} for {uptime(now - view.state_since)}"
    yield "reason", view.reason or ""
    yield "warning", view.warning or ""
    yield "", "" if view.accepted else f"no traffic until `nexus backends accept {view.name}`"
    yield "url", view.url
    yield "type", f"{view.type.value} {view.version or ''}".strip()
    yield "found by", f"{view.source.value}, {view.origin}"
    yield "zone", f"{view.zone.label}, tier {view.tier}, priority {view.priority}"
    yield "tags", ", ".join(view.tags)
    yield "pinned", ", ".join(view.pinned_models)


def _load(view: BackendView) -> Iterator[tuple[str, str]]:
    slots = "an unknown number of" if view.slots is None else str(view.slots)
    yield "in flight", f"{view.in_flight}, of {slots} slots"
    yield "requests", f"{view.requests}, {view.failures} failed"
    yield "first token", milliseconds(view.first_token_ms)
    if view.tokens_per_second is not None:
        yield "speed", f"{view.tokens_per_second:.0f} tokens/s"


def _lately(trend: BackendTrend | None) -> Iterator[tuple[str, str]]:
    if trend is None or not any(trend.requests):
        return
    minutes = uptime(trend.seconds * len(trend.requests))
    most = max(trend.tokens_per_second)
    yield "lately", f"{sum(trend.requests)} requests in {minutes}, at most {most:.0f} tokens/s"


def _row(model: ModelInfo, score: float | None) -> tuple[str, ...]:
    memory = {True: "loaded", False: "not loaded", None: "-"}[model.loaded]
    return (
        model.id,
        tokens(model.context_length),
        "elsewhere" if model.remote else memory,
        "-" if score is None else f"{score:.0f}",
        ", ".join(sorted(one.value for one in model.can)) or "-",
    )
