"""The configuration as a person sees and edits it, key by key. Hashes of API keys are masked."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from difflib import unified_diff
from enum import Enum
from typing import Any, get_origin

import msgspec
from msgspec import Struct

from nexus_proxy.config.keys import KeyPath, dotted, leaves, literal, named, nearest
from nexus_proxy.config.model import Config, Loaded
from nexus_proxy.config.overrides import BOOLEANS
from nexus_proxy.config.shape import annotation_of, metas, misfit, plain, wanted
from nexus_proxy.errors import CommandError, NotFoundError

AROUND = 2
"""Lines of the file that a diff shows before and after each change."""
HIDDEN = "•••"
SHOWN_OF_A_HASH = 10
_LATE = frozenset({"server.host", "server.port", "server.allow_unauthenticated"})
_HASH = re.compile(rf"(\bhash\s*=\s*[\"'][^\"']{{0,{SHOWN_OF_A_HASH}}})[^\"']*")


class Setting(Struct, frozen=True, kw_only=True):
    """One key. `origin` is `file:line`, a variable, a flag or `default`; `wanted` says in words
    what may stand there; `is_late`: a change takes effect with the next start."""

    key: str
    value: Any
    origin: str
    help: str
    wanted: str
    is_late: bool


def settings(loaded: Loaded) -> list[Setting]:
    """Every key that is in force, in the order of the model."""
    return [_setting(loaded, key, *found) for key, found in _keys(loaded.config)]


def _setting(loaded: Loaded, key: str, path: KeyPath, value: Any) -> Setting:
    annotation = annotation_of(path)
    return Setting(
        key=key,
        value=_masked_value(path, value),
        origin=loaded.origins.get(key, "default"),
        help=" ".join(meta.description for meta in metas(annotation) if meta.description),
        wanted=wanted(annotation),
        is_late=is_late(key),
    )


def is_late(key: str) -> bool:
    """Whether a change of this key takes effect with the next start only."""
    return key in _LATE or key.startswith("state.")


def is_map(path: KeyPath) -> bool:
    """Whether a table with keys of the user's own stands there, such as the aliases."""
    return get_origin(plain(annotation_of(path))) is dict


def find(key: str, loaded: Loaded) -> tuple[KeyPath, Any]:
    """The way to a dotted key, backends and API keys by name, and its value in force.

    Raises `NotFoundError` with the nearest key.
    """
    known = dict(_keys(loaded.config))
    if key in known:
        return known[key]
    if path := _in_a_map(key):
        return path, None
    close = nearest(key, known)
    hint = f"; did you mean {close}?" if close else ""
    raise NotFoundError(f"there is no key {key!r} to set{hint}")


def _in_a_map(key: str) -> KeyPath | None:
    """The way to a key that a map may have though it has none yet: an alias, say."""
    path: KeyPath = ()
    try:
        tree = tomllib.loads(f"{key} = 0")
        while isinstance(tree, dict):
            ((part, tree),) = tree.items()
            path = (*path, part)
        return path if is_map(path[:-1]) else None
    except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError):
        return None


def effective(key: str, loaded: Loaded) -> str | None:
    """The value in force as TOML writes it; None where there is no such key any more."""
    found = dict(_keys(loaded.config)).get(key)
    return None if found is None else literal(found[1])


def _keys(config: Config) -> Iterator[tuple[str, tuple[KeyPath, Any]]]:
    tree = msgspec.to_builtins(config)
    for path, value in leaves(tree):
        way = named(path, tree)
        yield dotted(way), (way, value)


def stands_in_file(key: str, loaded: Loaded) -> bool:
    """Whether the value in force is what the file says."""
    origin = loaded.origins.get(key, "default")
    return loaded.path is not None and origin.startswith(f"{loaded.path}:")


def overriding(key: str, loaded: Loaded) -> str | None:
    """The variable or flag that counts over what the file says of a key."""
    origin = loaded.origins.get(key, "default")
    return None if origin == "default" or stands_in_file(key, loaded) else origin


def read(path: KeyPath, given: Any) -> Any:
    """A value for a key, from JSON or from what a person typed: text as it is, numbers and lists as
    TOML has them, lists of words also with commas alone. Raises `CommandError`: it does not fit."""
    annotation = annotation_of(path)
    value = _typed(plain(annotation), given.strip()) if isinstance(given, str) else given
    if fault := misfit(annotation, value):
        hint = f" ({fault.hint})" if fault.hint else ""
        raise CommandError(f"{dotted(path)} {fault.problem}{hint}")
    return value


def _typed(kind: Any, text: str) -> Any:
    if kind is bool and text.lower() in BOOLEANS:
        return BOOLEANS[text.lower()]
    is_text = kind is str or (isinstance(kind, type) and issubclass(kind, Enum))
    if is_text and not text.startswith(('"', "'")):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if get_origin(kind) is list:
            return [word.strip() for word in text.split(",") if word.strip()]
        return text


def text_diff(old: str, new: str) -> tuple[str, ...]:
    """What changes between two texts of the file: lines that begin with ` `, `-`, `+` or `@`."""
    before, after = masked(old).splitlines(), masked(new).splitlines()
    return tuple(unified_diff(before, after, lineterm="", n=AROUND))[2:]


def masked(text: str) -> str:
    """A text without the most of the hashes in it. A file can hold no other secret: keys and
    passwords stand in variables, and URLs that hold one are refused."""
    return _HASH.sub(rf"\1{HIDDEN}", text)


def _masked_value(path: KeyPath, value: Any) -> Any:
    is_hash = path[0] == "keys" and path[-1] == "hash"
    return value[:SHOWN_OF_A_HASH] + HIDDEN if is_hash else value
