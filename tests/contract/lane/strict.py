"""A second opinion on raw bytes: the requests that RFC 9112 lets a server see in them.

Written from the RFC and on its own, so that no parser of the product is asked about itself. What
a server MAY accept is accepted (lone LF as line end, a folded line as spaces, equal lengths
repeated; any version as the nearer of 1.0 and 1.1); reading ends where the RFC allows nothing
more, and where the connection must close.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP/([0-9]\.[0-9])")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\x00]*?)[ \t]*")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)[ \t]*(?:;[^\n]*)?\r\n")
_TRAILERS_END = re.compile(rb"\r?\n")


@dataclass(frozen=True)
class Read:
    """One request that stands in the bytes, whole."""

    method: bytes
    target: bytes
    body: bytes
    end: int
    """Where the next one begins."""
    is_last: bool
    """The connection must close after it."""


def requests_in(data: bytes) -> list[Read]:
    """All requests that stand whole in `data`, in order, up to where reading must end."""
    found: list[Read] = []
    rest = data
    while (end := _HEAD_END.search(rest)) is not None:
        head = _head(rest[: end.start() + 1])
        if head is None:
            break
        method, target, fields, minor = head
        framed = _body(fields, rest[end.end() :], minor)
        if framed is None:
            break
        body, rest, is_last = framed
        is_last = is_last or _closes(fields, minor)
        found.append(Read(method, target, body, len(data) - len(rest), is_last))
        if is_last:
            break
    return found


Fields = list[tuple[bytes, bytes]]


def _head(raw: bytes) -> tuple[bytes, bytes, Fields, int] | None:
    request_line, *lines = _FOLD.sub(b" ", raw).removesuffix(b"\n").split(b"\n")
    request = _REQUEST_LINE.fullmatch(request_line.removesuffix(b"\r"))
    matches = [_FIELD.fullmatch(line.removesuffix(b"\r")) for line in lines]
    if request is None or not all(matches):
        return None
    fields = [(match[1].lower(), match[2]) for match in matches if match is not None]
    minor = int(request[3] >= b"1.1")
    hosts = len(_all(fields, b"host"))
    if hosts > 1 or (hosts == 0 and request[3] == b"1.1"):
        return None
    return request[1], request[2], fields, minor


def _all(fields: Fields, name: bytes) -> list[bytes]:
    values = [value for key, value in fields if key == name]
    return [item.strip().lower() for value in values for item in value.split(b",")]


def _closes(fields: Fields, minor: int) -> bool:
    options = _all(fields, b"connection")
    return b"close" in options or (minor == 0 and b"keep-alive" not in options)


def _body(fields: Fields, data: bytes, minor: int) -> tuple[bytes, bytes, bool] | None:
    """The body, what comes after it, and whether that may not be read any more."""
    codings, lengths = _all(fields, b"transfer-encoding"), _all(fields, b"content-length")
    if codings:
        chunked = _chunked(data) if codings == [b"chunked"] else None
        return None if chunked is None else (*chunked, bool(lengths) or minor == 0)
    if len(set(lengths)) > 1 or not all(re.fullmatch(rb"[0-9]+", length) for length in lengths):
        return None
    size = int(lengths[0]) if lengths else 0
    return None if len(data) < size else (data[:size], data[size:], False)


def _chunked(data: bytes) -> tuple[bytes, bytes] | None:
    body = b""
    while (header := _CHUNK.match(data)) is not None:
        size, data = int(header[1], 16), data[header.end() :]
        if size == 0:
            return _without_trailers(body, data)
        if data[size : size + 2] != b"\r\n":
            return None
        body, data = body + data[:size], data[size + 2 :]
    return None


def _without_trailers(body: bytes, data: bytes) -> tuple[bytes, bytes] | None:
    if (none := _TRAILERS_END.match(data)) is not None:
        return body, data[none.end() :]
    end = _HEAD_END.search(data)
    return None if end is None else (body, data[end.end() :])
