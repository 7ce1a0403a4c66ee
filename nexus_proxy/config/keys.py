"""Dotted keys and TOML literals: how places and values of the configuration are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

KeyPath = tuple[str | int, ...]
"""Way to a value: table keys as text, list positions as numbers."""

NAMED = ("backends", "keys")
"""Lists of tables that are told apart by their `name`."""

_NOT_ASCII = re.compile(r"[^ -~]")
_BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def quoted(key: str) -> str:
    """A key as TOML writes it: bare where it can be."""
    return key if _BARE.match(key) else literal(key)


def dotted(path: KeyPath) -> str:
    """`("routing", "aliases", "gpt-4.1")` as `routing.aliases."gpt-4.1"`; positions as `[0]`."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{quoted(part)}" for part in path)
    return "".join(parts).removeprefix(".")


def named(path: KeyPath, tree: Mapping[str, Any]) -> KeyPath:
    """The same way with the name of a backend or API key for its position, where it has one of
    its own.

    `tree` is the document that `path` leads through; it may be wrong in any way.
    """
    if len(path) < 2 or path[0] not in NAMED or not isinstance(path[1], int):
        return path
    entries = tree.get(str(path[0]))
    names = [
        entry.get("name") if isinstance(entry, dict) else None
        for entry in (entries if isinstance(entries, list) else ())
    ]
    name = names[path[1]] if path[1] < len(names) else None
    if isinstance(name, str) and name and names.count(name) == 1:
        return (path[0], name, *path[2:])
    return path


def leaves(tree: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Every value that is not itself a table or a list of tables, with the way to it.

    An empty table or list counts as a value.
    """
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, (*path, key))
    elif isinstance(tree, list) and tree and all(isinstance(item, dict) for item in tree):
        for position, item in enumerate(tree):
            yield from leaves(item, (*path, position))
    elif path:
        yield path, tree


def flat(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value for every leaf; backends and API keys by name."""
    return {dotted(named(path, tree)): value for path, value in leaves(tree)}


def literal(value: Any) -> str:
    """A value as TOML writes it; None, which TOML does not have, as `none`."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return _NOT_ASCII.sub(_escaped, json.dumps(value, ensure_ascii=False))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, dict):
        pairs = ", ".join(f"{quoted(key)} = {literal(item)}" for key, item in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    return str(value)


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"


def nearest(wanted: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `wanted`, if one does."""
    import difflib

    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(wanted[:100].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def suggestion(wanted: str, known: Iterable[str]) -> str:
    """A hint for a name that does not exist: the nearest one, or all that exist."""
    names = list(known)
    if close := nearest(wanted, names):
        return f"did you mean {quoted(close)}?"
    return f"known here: {', '.join(names)}"
