"""Finds the line of every key in a TOML text. `tomllib` gives values, but not their places.

The text has been read by `tomllib` before, so the scanner takes its syntax for granted.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

from nexus_proxy.config.keys import KeyPath

Lines = dict[KeyPath, int]
"""Way to a key or list item -> 1-based line."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r'"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'|[^\s.=\]"\']+')
_STRING = re.compile(
    r'"{3}(?:\\.|[^\\])*?"{3,5}(?!")'
    r"|'{3}.*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> Lines:
    """The line of every table, key and list item.

    A table that is made by the way (`[a.b]` makes `a`) stands where it is first mentioned.
    `text` must be valid TOML; a nesting too deep for the interpreter raises `RecursionError`.
    """
    return _Scanner(text).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: Lines = {}
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]
        self.sizes: dict[KeyPath, int] = {}

    def run(self) -> Lines:
        section: KeyPath = ()
        self.skip(_BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                section = self.header()
            else:
                self.pair(section)
            self.skip(_BLANK)
        return self.lines

    def header(self) -> KeyPath:
        line = self.line()
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        *parents, last = self.key()
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        for part in parents:
            path = self.into_last((*path, part), line)
        path = (*path, last)
        self.lines.setdefault(path, line)
        if is_array:
            size = self.sizes.get(path, 0)
            self.sizes[path] = size + 1
            path = (*path, size)
            self.lines[path] = line
        return path

    def into_last(self, path: KeyPath, line: int) -> KeyPath:
        """Note a parent table; in a list of tables, a header speaks of the last one."""
        self.lines.setdefault(path, line)
        return (*path, self.sizes[path] - 1) if path in self.sizes else path

    def pair(self, section: KeyPath) -> None:
        line = self.line()
        path = section
        for part in self.key():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.at += len("=")
        self.skip(_SPACE)
        self.value(path)

    def key(self) -> list[str]:
        parts: list[str] = []
        while True:
            self.skip(_SPACE)
            parts.append(_unquote(self.take(_KEY)))
            self.skip(_SPACE)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def value(self, path: KeyPath) -> None:
        opener = self.text[self.at]
        if opener == "[":
            self.items(path)
        elif opener == "{":
            self.pairs(path)
        elif opener in "\"'":
            self.skip(_STRING)
        else:
            self.skip(_BARE_VALUE)

    def items(self, path: KeyPath) -> None:
        position = 0
        while self.inside("]"):
            self.lines[(*path, position)] = self.line()
            self.value((*path, position))
            position += 1

    def pairs(self, path: KeyPath) -> None:
        while self.inside("}"):
            self.pair(path)

    def inside(self, closer: str) -> bool:
        """Step over an opener or a comma to the next item, or over `closer`."""
        self.skip(_BLANK)
        if self.text[self.at] != closer:
            self.at += 1
            self.skip(_BLANK)
        if self.text[self.at] != closer:
            return True
        self.at += 1
        return False

    def line(self) -> int:
        return bisect_right(self.starts, self.at)

    def skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.at):
            self.at = match.end()

    def take(self, pattern: re.Pattern[str]) -> str:
        start = self.at
        self.skip(pattern)
        return self.text[start : self.at]


def _unquote(key: str) -> str:
    if key[0] == "'":
        return key[1:-1]
    return next(iter(tomllib.loads(f"{key} = 0"))) if key[0] == '"' else key
