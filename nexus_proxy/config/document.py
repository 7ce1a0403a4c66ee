"""One TOML file as read: its values, and the line of each, so that errors can point."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from msgspec import Struct

from nexus_proxy.config.keys import KeyPath, dotted, named
from nexus_proxy.config.locate import Lines, locate
from nexus_proxy.errors import ConfigError

LARGEST = 4 << 20
"""Bytes. More than that is another file given by mistake, a model say."""

_PLACE = re.compile(r"line (\d+), column (\d+)")


class Document(Struct, frozen=True):
    """The values of one file. Without a file (`path` None) it is empty."""

    path: str | None = None
    data: dict[str, Any] = {}
    lines: Lines = {}

    def line(self, path: KeyPath) -> int | None:
        """The line of a key, or of the nearest table around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def error(self, path: KeyPath, problem: str, hint: str | None = None) -> ConfigError:
        """An error that points at a key of this file."""
        key = dotted(named(path, self.data))
        return ConfigError(problem, file=self.path, line=self.line(path), key=key, hint=hint)


def read(path: Path) -> Document:
    """Read a file. Raises `ConfigError` where it is missing, unreadable or not TOML."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file", file=str(path), hint="`nexus config init` writes one"
        ) from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"the file cannot be read: {reason}", file=str(path)) from None
    return parse(raw, str(path))


def parse(raw: bytes, path: str) -> Document:
    """Read the bytes of the file at `path`. Raises `ConfigError` where they are not TOML."""
    if len(raw) > LARGEST:
        raise ConfigError(
            f"is larger than {LARGEST >> 20} MiB", file=path, hint="is it a configuration file?"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8 text", file=path, line=line) from None
    try:
        return Document(path, tomllib.loads(text), locate(text))
    except RecursionError:
        raise ConfigError("is nested too deeply", file=path) from None
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, path) from None
    except ValueError:
        # Python reads no whole number of more than 4300 digits, and says so without a place.
        raise ConfigError("holds a number that is too long", file=path) from None


def _syntax_error(message: str, text: str, path: str) -> ConfigError:
    what, _, place = message.rpartition(" (at ")
    if found := _PLACE.match(place):
        what, line = f"{what}, column {found[2]}", int(found[1])
    else:
        what, line = f"{what}, at the end", text.rstrip().count("\n") + 1
    return ConfigError(f"is not valid TOML: {what}", file=path, line=line)
