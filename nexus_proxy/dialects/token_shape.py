"""Knowing a token's event by its likeness to the one before: most differ in their text only.

Reading an event costs several times as much as passing it on. But two events that are equal byte
for byte, except within one JSON string that is empty in neither, say the same of all that
`read_chunk` looks at; so what is known to be a token makes the next one known.

The string must be found without parsing. It follows a key of `_KEYS`, and a quoted key followed by
a colon and a quote cannot stand inside a JSON string, where quotes have backslashes before them;
it ends at the next quote, so that a text with quotes or backslashes is left to the parser.
"""

from __future__ import annotations

import re

_KEYS = re.compile(rb'"(?:content|reasoning_content|reasoning|text)": ?"')
_BREAK = re.compile(rb'["\\\x00-\x1f]')


class TokenShape:
    """What the events of a stream have around the text of a token."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before: bytes | None = None
        self._after = b""

    def fits(self, chunk: bytes) -> bool:
        """Whether bytes that begin where an event does are one whole event with a token."""
        before, after = self._before, self._after
        if before is None or not chunk.startswith(before) or not chunk.endswith(after):
            return False
        start, end = len(before), len(chunk) - len(after)
        return start < end and _BREAK.search(chunk, start, end) is None

    def learn(self, event: bytes) -> None:
        """Take over the shape of a whole event that is known to be a token."""
        before = self._before
        if before is not None and event.startswith(before) and event.endswith(self._after):
            return
        keys = list(_KEYS.finditer(event))
        if len(keys) != 1 or not event.endswith(b"\n\n") or b"\r" in event:
            return
        start = keys[0].end()
        end = _BREAK.search(event, start)
        if end is not None and end[0] == b'"' and end.start() > start:
            self._before, self._after = event[:start], event[end.start() :]
