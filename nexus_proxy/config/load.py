"""From file, environment and flags to one validated `Config`, with the origin of every value."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nexus_proxy.config import values
from nexus_proxy.config.document import Document, read
from nexus_proxy.config.keys import NAMED, KeyPath, dotted, leaves, named
from nexus_proxy.config.model import Config, Loaded, Zone
from nexus_proxy.config.overrides import Given, given
from nexus_proxy.config.paths import FILE_NAME, config_file
from nexus_proxy.config.rules import broken
from nexus_proxy.config.shape import misfits
from nexus_proxy.errors import ConfigError

VARIABLE = "NEXUS_CONFIG"
_NO_FLAGS: Mapping[str, object] = {}


class Place(NamedTuple):
    """Where a configuration file is looked for. `path` is None where nothing was given."""

    label: str
    path: Path | None
    required: bool


def places(explicit: str | None, environ: Mapping[str, str]) -> tuple[Place, ...]:
    """All places, first looked at first."""
    return (
        Place("--config", _absolute(explicit), required=True),
        Place(f"${VARIABLE}", _absolute(environ.get(VARIABLE)), required=True),
        Place(f"./{FILE_NAME}", _absolute(FILE_NAME), required=False),
        Place("user folder", config_file(), required=False),
    )


def find(explicit: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file to use: `--config`, `$NEXUS_CONFIG`, `./nexus.toml`, the user's own; or None.

    Raises `ConfigError` where the flag or the variable names a file that cannot be read.
    """
    for label, path, required in places(explicit, environ):
        if path is None or not (required or os.path.lexists(path)):
            continue
        if required and (problem := _unusable(path)):
            raise ConfigError(problem, file=label.lstrip("$"))
        return path
    return None


def problems(document: Document) -> list[ConfigError]:
    """What is wrong with one file by itself, in the order of its lines; one error per key."""
    first: dict[tuple[int, str | None], ConfigError] = {}
    for error in (*misfits(document), *broken(document)):
        first.setdefault((error.line or 0, error.key), error)
    return [first[place] for place in sorted(first, key=lambda place: place[0])]


def assemble(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    *,
    starting: bool = True,
) -> tuple[Loaded | None, list[ConfigError]]:
    """The configuration, or None and everything that is wrong with it. See `load`."""
    document = Document()
    try:
        document = read(path) if path else document
        wrong = problems(document)
    except ConfigError as error:
        wrong = [error]
    overrides, unusable = given(environ, flags)
    wrong += [*unusable, *(_exposed(document, overrides) if starting else ())]
    if wrong:
        return None, sorted(wrong, key=lambda error: error.line or sys.maxsize)
    config = msgspec.convert(_merged(document.data, overrides), Config)
    origins = _origins(config, document, overrides)
    return Loaded(config=config, origins=origins, path=document.path), []


def load(
    explicit: str | None = None,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, object] = _NO_FLAGS,
    starting: bool = True,
) -> Loaded:
    """Find, read, merge and validate.

    `starting`: a gateway is to be started with it, which it is not off loopback without any key.
    One that runs already, and whose last key is taken away, lets nobody in.
    `flags` maps dotted keys to typed values, e.g. `{"server.port": 9000}`; None: not given.
    Raises `ConfigError` for the first problem, with the number of further ones.
    """
    loaded, wrong = assemble(find(explicit, environ), environ, flags, starting=starting)
    if loaded is None:
        first = wrong[0]
        raise ConfigError(
            first.problem,
            file=first.file,
            line=first.line,
            key=first.key,
            hint=first.hint,
            others=len(wrong) - 1,
        )
    return loaded


def _absolute(path: str | None) -> Path | None:
    if path is None:
        return None
    expanded = Path(os.path.expanduser(path))
    try:
        return expanded.absolute()
    except FileNotFoundError:  # the working folder itself is gone
        return expanded


def _unusable(path: Path) -> str | None:
    if not path.exists():
        return f"there is no file {path}; `nexus config init` writes one"
    if path.is_dir():
        return f"{path} is a folder, not a file"
    return None if os.access(path, os.R_OK) else f"{path} cannot be read; check its permissions"


def _merged(data: dict[str, Any], overrides: list[Given]) -> dict[str, Any]:
    merged = deepcopy(data)
    for (section, key), value, _origin in overrides:
        merged.setdefault(section, {})[key] = value
    for section in NAMED:
        for entry in merged.get(section, ()):
            if "zone" in entry:
                entry["zone"] = Zone.parse(entry["zone"]).label
    return merged


def _origins(config: Config, document: Document, overrides: list[Given]) -> dict[str, str]:
    outside = {key: origin for key, _value, origin in overrides}
    tree = msgspec.to_builtins(config)

    def origin(path: KeyPath) -> str:
        if path in outside:
            return outside[path]
        return f"{document.path}:{document.lines[path]}" if path in document.lines else "default"

    return {dotted(named(path, tree)): origin(path) for path, _value in leaves(tree)}


def _exposed(document: Document, overrides: list[Given]) -> list[ConfigError]:
    """Listening for other machines without any key must be said twice."""
    server = document.data.get("server")
    table = server if isinstance(server, dict) else {}
    outside = {key: item for key, *item in overrides}
    host, origin = outside.get(("server", "host"), (table.get("host"), None))
    if not isinstance(host, str) or values.host(host) or values.is_loopback(host):
        return []
    if document.data.get("keys") or table.get("allow_unauthenticated") is True:
        return []
    problem = f"{host} can be reached from other machines, and Nexus has no API keys yet"
    hint = (
        "`nexus keys create NAME` makes one; or listen on 127.0.0.1, or set "
        "server.allow_unauthenticated = true if anybody may use it"
    )
    if origin:
        return [ConfigError(problem, file=origin, key="server.host", hint=hint)]
    return [document.error(("server", "host"), problem, hint)]
