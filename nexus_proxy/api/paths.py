"""Tolerant paths: what people put in front of a route, taken away by rewriting, never redirects."""

from __future__ import annotations

import re
from urllib.parse import unquote

from nexus_proxy.dialects.openai import Endpoint

HOT: dict[str, Endpoint] = {
    "/v1/chat/completions": Endpoint.CHAT,
    "/v1/completions": Endpoint.COMPLETIONS,
    "/v1/embeddings": Endpoint.EMBEDDINGS,
}
_SLASHES = re.compile(r"/{2,}")
_DOUBLED = re.compile(r"^(?:/v1)+(?=/v1(?:/|$))")
_BARE = re.compile(r"^/(?:chat/completions|completions|embeddings|models)(?:/|$)")


TELLING = ("/metrics", "/v1/stats", "/v1/history")
"""They tell about everybody's requests, models, keys and spend."""


def is_management(path: str) -> bool:
    """Whether a canonical path is for the operator, not for every client."""
    return path.startswith("/nexus/") or path in TELLING


def canonical(path: str) -> str:
    """The path as routes are written: one `/v1`, single slashes, no trailing slash."""
    path = _SLASHES.sub("/", path)
    path = _DOUBLED.sub("", path)
    if _BARE.match(path):
        path = "/v1" + path
    return path.rstrip("/") or "/"


HOT_TARGETS = {path.encode(): endpoint for path, endpoint in HOT.items()}
"""The targets as nearly all clients write them, for a look-up without any rewriting."""


def hot_endpoint(target: bytes) -> Endpoint | None:
    """The hot endpoint that a request target means, however it is written; None: not hot."""
    path = unquote(target.partition(b"?")[0].decode("latin-1"))
    return HOT.get(canonical(path))
