"""Names that a shell completes: of what the running gateway has, asked in half a second or not at
all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from nexus_proxy.cli.client import Client, gateway_url
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.errors import NexusError
from nexus_proxy.state import Snapshot

SECONDS = 0.5
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _models(state: Snapshot) -> Iterable[str]:
    return {model.id for view in state.backends for model in view.models} | state.aliases.keys()


_KINDS: dict[str, Callable[[Snapshot], Iterable[str]]] = {
    "backend": lambda state: (view.name for view in state.backends),
    "destination": lambda state: (view.name for view in state.backends),
    "model": _models,
    "target": _models,
    "alias": lambda state: state.aliases,
    "fallback": lambda state: state.fallbacks,
    "key": lambda state: (view.name for view in state.keys),
    "request": lambda state: (view.id for view in state.requests if view.total_ms is None),
}


def completing(kind: str) -> Complete | None:
    """What completes an argument of this kind; None: nothing that the gateway knows."""
    names = _KINDS.get(kind)
    if names is None:
        return None

    def complete(
        context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        state = _state(context)
        found = () if state is None else sorted(set(names(state)))
        return [CompletionItem(name) for name in found if name.startswith(begun)]

    return complete


def _state(context: click.Context) -> Snapshot | None:
    """None where no gateway answers in time: a shell waits for this."""
    given = context.find_root().params
    options = RunOptions(config=given.get("config"), host=given.get("host"), port=given.get("port"))
    try:
        url = gateway_url(context.params.get("gateway"), options)
        with Client(url, seconds=SECONDS) as client:
            return client.get("/nexus/v1/state", Snapshot)
    except (NexusError, click.ClickException):
        return None
