"""Changing single top-level values of a JSON object; every other byte stays as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

_MEMBER = re.compile(rb'[\s,]*("(?:[^"\\]|\\.)*")\s*:\s*')
_END = re.compile(rb"\s*\}\s*\Z")

_decode = msgspec.json.Decoder(dict[str, Raw]).decode

Span = tuple[int, int]


def members(body: bytes) -> dict[str, Raw]:
    """The top-level values of an object, undecoded. Raises `msgspec.DecodeError`."""
    return _decode(body)


def edit(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """`body`, a JSON object, with top-level values replaced or, where there are none, added last.

    An object that names a member twice is written anew, since readers differ on which one counts.
    """
    values = _decode(body)
    new = {key: msgspec.json.encode(value) for key, value in changes.items()}
    spans = _spans(body, values)
    if spans is None:
        return msgspec.json.encode({**values, **{key: Raw(value) for key, value in new.items()}})
    pieces, at = [], 0
    for key in sorted(new.keys() & spans.keys(), key=spans.__getitem__):
        start, end = spans[key]
        pieces += [body[at:start], new[key]]
        at = end
    last = max((end for _, end in spans.values()), default=body.index(b"{") + 1)
    pieces.append(body[at:last])
    for key in [key for key in new if key not in spans]:
        comma = b"," if len(pieces) > 1 or spans else b""
        pieces.append(comma + msgspec.json.encode(key) + b":" + new[key])
    return b"".join((*pieces, body[last:]))


def _spans(body: bytes, values: Mapping[str, Raw]) -> dict[str, Span] | None:
    """Where each value stands; None where a name comes twice."""
    spans: dict[str, Span] = {}
    at = body.index(b"{") + 1
    for name, value in values.items():
        member = _MEMBER.match(body, at)
        if member is None or msgspec.json.decode(member[1]) != name:
            return None
        at = member.end() + len(value)
        spans[name] = (member.end(), at)
    return spans if _END.match(body, at) else None
