"""Server-sent events as bytes: split a stream into whole events without touching them.

An event ends at a blank line, in any of the three line endings that the specification allows
(WHATWG HTML, "server-sent events"). Text is never decoded for splitting: `str.splitlines` would
also split at U+2028 and others, which are legal inside a JSON string.
"""

from __future__ import annotations

import re

_BOUNDARY = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n|\r\n\n")
_LINE = re.compile(rb"\r\n|\n|\r")

DONE = b"[DONE]"
PING = b": ping\n"
"""A comment that dispatches nothing: one newline, since `openai-python` and `openai-go` dispatch
an empty event at a comment that a blank line follows."""


class EventSplitter:
    """Cuts a byte stream into whole events; what is not whole yet is kept.

    `feed` may be called with chunks cut anywhere. The bytes that come out, with `rest()`, are the
    bytes that went in.
    """

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """Whole events, each with the blank line that ended it."""
        data = self._pending + chunk if self._pending else chunk
        # A lone CR at the end may be half of a CRLF: wait for what follows.
        if data.endswith(b"\r") and not data.endswith(b"\r\r"):
            hold = data
            events, start = self._split(hold, len(hold) - 1)
        else:
            events, start = self._split(data, len(data))
        self._pending = data[start:]
        return events

    def rest(self) -> bytes:
        """Bytes of an event that has not ended."""
        return self._pending

    @staticmethod
    def _split(data: bytes, end: int) -> tuple[list[bytes], int]:
        events: list[bytes] = []
        start = 0
        for match in _BOUNDARY.finditer(data, 0, end):
            events.append(data[start : match.end()])
            start = match.end()
        return events, start


def payload(event: bytes) -> bytes | None:
    """The data of one event: its `data:` lines joined by newlines; None where it has none."""
    if event.startswith(b"data:"):
        body = event[5:].strip(b" \r\n")
        if b"\n" not in body and b"\r" not in body:
            return body
    lines = [
        line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None
