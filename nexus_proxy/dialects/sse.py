"""Server-sent events as bytes: split a stream into whole events without touching them.

An event ends at a blank line, in any of the three line endings that the specification allows
(WHATWG HTML, "server-sent events"). Text is never decoded for splitting: `str.splitlines` would
also split at U+2028 and others, which are legal inside a JSON string.
"""

from __future__ import annotations

import re

_BOUNDARY = re.compile(rb"\n\n|\r\n\r\n|\r\r|\n\r\n|\r\n\n")
_SEAM = 3
"""One byte less than the longest boundary."""
_LINE = re.compile(rb"\r\n|\n|\r")

_BLANKS, _LF = b" \r\n", ord("\n")

MEDIA_TYPE = b"text/event-stream; charset=utf-8"
DONE = b"[DONE]"
PING = b": ping\n"
"""A comment that dispatches nothing: one newline, since `openai-python` and `openai-go` dispatch
an empty event at a comment that a blank line follows."""


class EventSplitter:
    """Cuts a byte stream into whole events; what is not whole yet is kept.

    `feed` may be called with chunks cut anywhere. The bytes that come out, with `rest()`, are the
    bytes that went in. An event in many chunks costs no more than its length.

    Attributes:
        pending: bytes of an event that has not ended.
    """

    __slots__ = ("_parts", "pending")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.pending = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Whole events, each with the blank line that ended it."""
        if not self._parts and is_one_event(chunk):
            return [chunk]
        if self._parts and _BOUNDARY.search(self._seam() + chunk) is None:
            self._keep(chunk)
            return []
        data = b"".join((*self._parts, chunk)) if self._parts else chunk
        # A lone CR at the end may be half of a CRLF: wait for what follows.
        half = data.endswith(b"\r") and not data.endswith(b"\r\r")
        events, start = self._split(data, len(data) - half)
        self._parts.clear()
        self.pending = 0
        self._keep(data[start:])
        return events

    def rest(self) -> bytes:
        """Bytes of an event that has not ended."""
        return b"".join(self._parts)

    def _keep(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self.pending += len(data)

    def _seam(self) -> bytes:
        """The last bytes, in which a boundary may have begun."""
        seam = b""
        for part in reversed(self._parts):
            seam = part[-_SEAM:] + seam
            if len(seam) >= _SEAM:
                break
        return seam[-_SEAM:]

    @staticmethod
    def _split(data: bytes, end: int) -> tuple[list[bytes], int]:
        events: list[bytes] = []
        start = 0
        for match in _BOUNDARY.finditer(data, 0, end):
            events.append(data[start : match.end()])
            start = match.end()
        return events, start


def is_one_event(chunk: bytes) -> bool:
    """Whether a chunk is just one event, as nearly all are."""
    return chunk.endswith(b"\n\n") and chunk.find(b"\n\n") == len(chunk) - 2 and b"\r" not in chunk


def payload(event: bytes) -> bytes | None:
    """The data of one event: its `data:` lines joined by newlines; None where it has none."""
    at = event.find(b"data:")
    if at == 0 or (at > 0 and event[at - 1] == _LF and b"\r" not in event[:at]):
        body = event[at + 5 :].rstrip(_BLANKS)
        if b"\n" not in body and b"\r" not in body:
            return body.lstrip(b" ")
    lines = [
        line[5:].removeprefix(b" ") for line in _LINE.split(event) if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None
