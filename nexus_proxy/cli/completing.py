"""Names that a shell completes: of what the running gateway has, asked in half a second or not at
all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem
from msgspec import Struct

from nexus_proxy.cli.client import Client, gateway_url
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.errors import NexusError
from nexus_proxy.state import Snapshot

SECONDS = 0.5
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


class Key(Struct, frozen=True):
    """A setting in the answer of `/nexus/v1/config`."""

    key: str


class Keys(Struct, frozen=True):
    """The answer of `/nexus/v1/config`, as far as it is read here."""

    values: list[Key]


def _models(state: Snapshot) -> Iterable[str]:
    return {model.id for view in state.backends for model in view.models} | state.aliases.keys()


_IN_STATE: dict[str, Callable[[Snapshot], Iterable[str]]] = {
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
    if kind not in _IN_STATE and kind != "setting":
        return None

    def complete(
        context: click.Context, _parameter: click.Parameter, begun: str
    ) -> list[CompletionItem]:
        return _beginning(begun, _asked(context, kind))

    return complete


def words(*known: str) -> Complete:
    """What completes an argument with words that are always the same, among others."""
    return lambda _context, _parameter, begun: _beginning(begun, known)


def _beginning(begun: str, names: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(set(names)) if name.startswith(begun)]


def _asked(context: click.Context, kind: str) -> Iterable[str]:
    """Nothing where no gateway answers in time: a shell waits for this."""
    given = context.find_root().params
    options = RunOptions(config=given.get("config"), host=given.get("host"), port=given.get("port"))
    try:
        url = gateway_url(context.params.get("gateway"), options)
        with Client(url, seconds=SECONDS) as client:
            if kind == "setting":
                return [value.key for value in client.get("/nexus/v1/config", Keys).values]
            return _IN_STATE[kind](client.get("/nexus/v1/state", Snapshot))
    except (NexusError, click.ClickException):
        return ()
