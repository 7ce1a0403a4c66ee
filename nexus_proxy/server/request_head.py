"""Reading the head of a request, and deciding whether the lane may answer it.

The lane takes only what leaves nothing to interpret: a request line as it is always written, a
`Host` and a `Content-Length`, no header twice, no transfer coding, no `Expect`, no upgrade. All
else, and all that llhttp does not parse, is Hypercorn's to answer or refuse, so that there is one
judge of odd requests.
"""

from __future__ import annotations

from typing import NamedTuple

import httptools

_NEVER = frozenset((b"transfer-encoding", b"expect", b"upgrade", b"http2-settings", b"trailer"))
MAX_LENGTH_DIGITS = 12


class RequestHead(NamedTuple):
    """A request that the lane may answer. Header names are lower case."""

    target: bytes
    headers: dict[bytes, bytes]
    length: int
    keep_alive: bool


class _Collector:
    """What httptools calls while it parses."""

    __slots__ = ("complete", "headers", "target")

    def __init__(self) -> None:
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def read_head(data: bytes) -> RequestHead | None:
    """The head that `data` holds (up to and with its blank line), or None: not for the lane."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    # llhttp also takes other methods, more blanks, empty lines in front, and RTSP.
    if not collector.complete or not data.startswith(b"POST %b HTTP/1.1\r\n" % collector.target):
        return None
    headers = dict(collector.headers)
    if len(headers) < len(collector.headers) or not _NEVER.isdisjoint(headers):
        return None
    length = headers.get(b"content-length", b"")
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS or b"host" not in headers:
        return None
    connection = headers.get(b"connection", b"keep-alive").lower()
    if connection not in (b"keep-alive", b"close"):
        return None
    return RequestHead(collector.target, headers, int(length), connection == b"keep-alive")
