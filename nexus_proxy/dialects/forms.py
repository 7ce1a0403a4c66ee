"""Multipart forms: reading their text fields where they stand, and changing one of them.

Written here since a form must reach the backend byte for byte but for the model's name, and no
parser says where in the body a field stands. Files are stepped over, never copied.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nexus_proxy.errors import InvalidRequestError

MOST_PARTS = 256
Span = tuple[int, int]

_BOUNDARY = re.compile(rb'boundary=(?:"([^"\r\n]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'[;\s]name=(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_FILE = re.compile(rb"[;\s]filename\*?=", re.IGNORECASE)


def is_form(content_type: bytes) -> bool:
    """Whether a `Content-Type` announces a form."""
    return content_type.partition(b";")[0].strip().lower() == b"multipart/form-data"


def fields(body: bytes, content_type: bytes) -> dict[str, Span]:
    """Where the value of each text field stands. Raises `InvalidRequestError`, also for a name
    that comes twice, since readers differ on which one counts."""
    found: dict[str, Span] = {}
    for name, span in _parts(body, _boundary(content_type)):
        if name in found and not name.endswith("[]"):
            raise InvalidRequestError(f"the form holds {name[:60]!r} twice", param=name[:60])
        found[name] = span
    return found


def text(body: bytes, span: Span) -> str:
    """The value of a text field."""
    return body[slice(*span)].decode("utf-8", "replace")


def with_field(body: bytes, content_type: bytes, name: str, value: str) -> bytes:
    """The form with the value of one of its text fields replaced."""
    start, end = fields(body, content_type)[name]
    return b"".join((body[:start], value.encode(), body[end:]))


def _boundary(content_type: bytes) -> bytes:
    said = _BOUNDARY.search(content_type)
    if said is None:
        raise InvalidRequestError("the form's Content-Type names no boundary")
    return b"--" + (said[1] or said[2])


def _parts(body: bytes, boundary: bytes) -> Iterator[tuple[str, Span]]:
    """Name and place of each part that is no file."""
    at = body.find(boundary)
    for _ in range(MOST_PARTS):
        after = at + len(boundary)
        if at < 0 or body[after : after + 2] == b"--":
            break
        head = body.find(b"\r\n\r\n", after)
        end = body.find(b"\r\n" + boundary, after)
        if head < 0 or end < head + 2:
            break
        lines = body[after:head]
        name = _NAME.search(lines)
        if name is not None and _FILE.search(lines) is None:
            label = (name[1] if name[1] is not None else name[2]).decode("utf-8", "replace")
            yield label, (min(head + 4, end), end)
        at = end + 2
    if at < 0 or body[at + len(boundary) : at + len(boundary) + 2] != b"--":
        raise InvalidRequestError(
            f"the body is no whole multipart form of at most {MOST_PARTS} parts"
        )
