"""What types cannot say: formats of single values, and values that must agree with each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from nexus_proxy.config import values
from nexus_proxy.config.document import Document
from nexus_proxy.config.keys import KeyPath, nearest
from nexus_proxy.config.values import Fault
from nexus_proxy.errors import ConfigError

MAX_ALIAS_HOPS = 3
_PRICE_SUFFIX = "_usd_per_million"

Format = Callable[[str], Fault | None]
FORMATS: dict[KeyPath, Format] = {
    ("server", "host"): values.host,
    ("server", "allowed_origins", "*"): values.glob,
    ("server", "management_key_env"): values.variable,
    ("discovery", "service_types", "*"): values.service_type,
    ("routing", "aliases", "*"): values.exact_name,
    ("routing", "fallbacks", "*", "*"): values.exact_name,
    ("routing", "pins", "*"): values.name,
    ("routing", "policies", "*", "model_pattern"): values.glob,
    ("state", "path"): values.file,
    ("state", "url"): values.store_url,
    ("state", "password_env"): values.variable,
    ("backends", "*", "name"): values.name,
    ("backends", "*", "url"): values.url,
    ("backends", "*", "api_key_env"): values.variable,
    ("backends", "*", "zone"): values.zone,
    ("backends", "*", "models", "*"): values.glob,
    ("routing", "budget", "time_zone"): values.time_zone,
    ("prices", "*", "model"): values.glob,
    ("prices", "*", "backend"): values.name,
    ("keys", "*", "name"): values.name,
    ("keys", "*", "hash"): values.key_hash,
    ("keys", "*", "zone"): values.zone,
    ("keys", "*", "models", "*"): values.glob,
}
_UNIQUE = (
    ("backends", "name", "another backend is called {!r} already"),
    ("keys", "name", "another key is called {!r} already"),
    ("keys", "hash", "another key has this hash already"),
)
KEY_FORMATS: dict[KeyPath, Format] = {
    ("routing", "aliases"): values.glob,
    ("routing", "fallbacks"): values.exact_name,
    ("routing", "pins"): values.exact_name,
}


def broken(document: Document) -> Iterator[ConfigError]:
    """Every rule that the document breaks. Values of the wrong type are passed over."""
    yield from _bad_formats(document)
    yield from _twins(document)
    yield from _alias_loops(document)
    yield from _fallbacks_to_self(document)
    yield from _named_but_nobody(document)
    yield from _prices_of_nothing(document)


def _select(tree: Any, pattern: KeyPath, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Values at the places that `pattern` names; `*` is any key or position."""
    if len(path) == len(pattern):
        yield path, tree
        return
    part = pattern[len(path)]
    if part == "*" and isinstance(tree, list):
        for position, item in enumerate(tree):
            yield from _select(item, pattern, (*path, position))
    elif isinstance(tree, dict):
        for key in tree if part == "*" else {part} & tree.keys():
            yield from _select(tree[key], pattern, (*path, key))


def _texts(document: Document, *pattern: str | int) -> dict[KeyPath, str]:
    return {p: v for p, v in _select(document.data, pattern) if isinstance(v, str)}


def _bad_formats(document: Document) -> Iterator[ConfigError]:
    for pattern, check in FORMATS.items():
        for path, text in _texts(document, *pattern).items():
            if fault := check(text):
                yield document.error(path, *fault)
    for pattern, check in KEY_FORMATS.items():
        for path, _value in _select(document.data, (*pattern, "*")):
            if fault := check(str(path[-1])):
                yield document.error(path, *fault)


def _twins(document: Document) -> Iterator[ConfigError]:
    """Entries that nothing would tell apart: same names, same keys."""
    for section, column, problem in _UNIQUE:
        first: dict[str, int | None] = {}
        for path, value in _texts(document, section, "*", column).items():
            if value in first:
                line = first[value]
                hint = f"the first one stands in line {line}" if line else None
                yield document.error(path, problem.format(value), hint)
            else:
                first[value] = document.line(path)


def _alias_loops(document: Document) -> Iterator[ConfigError]:
    aliases = {str(p[-1]): v for p, v in _texts(document, "routing", "aliases", "*").items()}
    seen: set[frozenset[str]] = set()
    for name in aliases:
        path = _follow(name, aliases)
        loop = path[path.index(path[-1]) : -1]
        if loop:
            if frozenset(loop) not in seen:
                yield document.error(
                    ("routing", "aliases", name), f"goes in a circle: {' -> '.join(path)}"
                )
            seen.add(frozenset(loop))
        elif len(path) > MAX_ALIAS_HOPS + 1:
            yield document.error(
                ("routing", "aliases", name),
                f"takes more than {MAX_ALIAS_HOPS} hops: {' -> '.join(path)}",
                f'write "{name}" = "{path[-1]}"',
            )


def _follow(name: str, aliases: dict[str, str]) -> list[str]:
    """The way from an alias to its end, or until a name comes for the second time.

    A glob that its own target matches (`"claude-*" = "claude-3"`) ends there.
    """
    path = [name, aliases[name]]
    while path[-1] not in path[:-1]:
        target = _target(path[-1], aliases)
        if target is None or (target == path[-1] and target not in aliases):
            break
        path.append(target)
    return path


def _target(name: str, aliases: dict[str, str]) -> str | None:
    """An exact alias beats a glob; the first glob of the file beats later ones."""
    if name in aliases:
        return aliases[name]
    globs = (v for k, v in aliases.items() if values.is_glob(k) and fnmatchcase(name, k))
    return next(globs, None)


def _fallbacks_to_self(document: Document) -> Iterator[ConfigError]:
    for path, model in _texts(document, "routing", "fallbacks", "*", "*").items():
        if model == path[2]:
            yield document.error(path, f"{model!r} cannot be its own fallback")


def _named_but_nobody(document: Document) -> Iterator[ConfigError]:
    """Pins and prices may name a backend that discovery will find; without it, only the file's."""
    if (("discovery", "enabled"), False) not in _select(document.data, ("discovery", "enabled")):
        return
    names = set(_texts(document, "backends", "*", "name").values())
    pins, prices = ("routing", "pins", "*"), ("prices", "*", "backend")
    for path, name in (_texts(document, *pins) | _texts(document, *prices)).items():
        if name not in names:
            close = nearest(name, names)
            yield document.error(
                path,
                f"no backend is called {name!r}, and discovery is off, so none will be found",
                f'did you mean "{close}"?' if close else None,
            )


def _prices_of_nothing(document: Document) -> Iterator[ConfigError]:
    """An entry that sets no price would take the place of a later one that does."""
    for path, entry in _select(document.data, ("prices", "*")):
        if isinstance(entry, dict) and not any(str(key).endswith(_PRICE_SUFFIX) for key in entry):
            yield document.error(
                path, "sets no price", "write input_usd_per_million and output_usd_per_million"
            )
