"""What differs between two configurations, a line per key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from nexus_proxy.config.keys import NAMED, KeyPath, dotted, literal
from nexus_proxy.config.model import Config

_BY_POSITION: tuple[KeyPath, ...] = (("routing", "policies"), ("prices",))
"""Lists of tables that have no names and whose order counts."""


def diff(old: Config, new: Config) -> tuple[str, ...]:
    """Lines such as `routing.strategy: smart -> random` or `backends.gpu: added`.

    Backends and API keys are told apart by name; their order does not count. The configuration
    holds names of variables and hashes, never keys, so that every value can be shown.
    """
    return tuple(_changes((), _by_name(old), _by_name(new)))


def _by_name(config: Config) -> dict[str, Any]:
    tree: dict[str, Any] = msgspec.to_builtins(config)
    for section in NAMED:
        tree[section] = {entry["name"]: entry for entry in tree[section]}
    return tree


def _changes(path: KeyPath, old: Any, new: Any) -> Iterator[str]:
    """None stands for a key that is not there."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**old, **new}:
            yield from _changes((*path, key), old.get(key), new.get(key))
    elif path in _BY_POSITION:
        for position, (before, after) in enumerate(zip_longest(old, new)):
            yield from _changes((*path, position), before, after)
    elif isinstance(new, dict):
        yield f"{dotted(path)}: added"
    elif isinstance(old, dict):
        yield f"{dotted(path)}: removed"
    else:
        yield f"{dotted(path)}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    """Text as it is, unless that could be misread or do harm on a screen."""
    harmless = isinstance(value, str) and value.isprintable() and value.strip() == value != ""
    return value if harmless else literal(value)
