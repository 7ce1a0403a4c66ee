"""The dashboard's static files, and the headers that keep a browser from doing anything else."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from msgspec import Struct

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        # Foreign names are text: no string can become markup, not even by a mistake of ours.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would make the form's Origin `null`, which the gate refuses.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Asset(Struct, frozen=True):
    """One file as it is sent. `tag` changes with what is in it."""

    body: bytes
    type: str
    tag: str


@cache
def assets() -> dict[str, Asset]:
    """All of them, by file name. Read once."""
    folder = resources.files(__package__) / "static"
    found = {}
    for file in folder.iterdir():
        suffix = f".{file.name.rpartition('.')[2]}"
        if suffix in TYPES:
            body = file.read_bytes()
            tag = hashlib.sha256(body).hexdigest()[:16]
            found[file.name] = Asset(body, TYPES[suffix], tag)
    return found
