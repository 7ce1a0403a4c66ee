"""Tolerant paths: what people put in front of a route, taken away by rewriting, never redirects."""

from __future__ import annotations

import re
from urllib.parse import unquote

from nexus_proxy.dialects.base import Dialect
from nexus_proxy.dialects.foreign import FOREIGN
from nexus_proxy.dialects.openai import PATHS, Endpoint

HOT: dict[str, Endpoint] = {path: endpoint for endpoint, path in PATHS.items()}
REQUEST_ID = "nexus.request_id"
"""Key of an ASGI scope."""
_SLASHES = re.compile(r"/{2,}")
_DOUBLED = re.compile(r"^(?:/v1)+(?=/v1(?:/|$))")
_BARE = re.compile(
    r"^/(?:chat/completions|completions|embeddings|models|messages|responses|rerank|moderations"
    r"|audio/(?:transcriptions|translations|speech)|images/(?:generations|edits|variations))(?:/|$)"
)


TELLING = ("/metrics", "/v1/stats", "/v1/history")
"""They tell about everybody's requests, models, keys and spend."""


STEERING = (
    "/v1/models/load",
    "/v1/models/migrate",
    "/v1/lifecycle/operations",
    "/v1/fleet/recommendations",
)
"""What loads and unloads models (with DELETE of a model), and advises about it."""


LOOKING = ("/nexus/v1/previews", "/nexus/v1/route")
"""They say who would serve, and have a body to say for what."""


def is_management(path: str, method: str) -> bool:
    """Whether a request for a canonical path is the operator's, not every client's."""
    if path.startswith("/nexus/") or path in TELLING or path in STEERING:
        return True
    return method == "DELETE" and path.startswith("/v1/models/")


def only_looks(path: str, method: str) -> bool:
    """Whether a management request changes nothing and makes the gateway ask nobody."""
    return method in ("GET", "HEAD") or path in LOOKING


def counted_as(path: str, method: str) -> str:
    """The label of a canonical path in counts: its endpoint's, `management` or `other`."""
    if endpoint := HOT.get(path):
        return endpoint.value
    return "management" if is_management(path, method) else "other"


def is_own_page(path: str, method: str) -> bool:
    """Whether the dashboard's page, wherever it was read from, may ask for a canonical path."""
    return path == "/ws" or path.startswith("/web/") or is_management(path, method)


def canonical(path: str) -> str:
    """The path as routes are written: one `/v1`, single slashes, no trailing slash."""
    path = _SLASHES.sub("/", path)
    path = _DOUBLED.sub("", path)
    if _BARE.match(path):
        path = "/v1" + path
    return path.rstrip("/") or "/"


HOT_TARGETS = {path.encode(): endpoint for path, endpoint in HOT.items()}
HOT_TARGETS[b"/v1/messages?beta=true"] = Endpoint.MESSAGES
"""The targets as nearly all clients write them, for a look-up without any rewriting."""


def dialect_of(path: str) -> Dialect | None:
    """The dialect in which a path's errors are told; None: OpenAI's. `path` is canonical."""
    if path.startswith("/api/"):
        return FOREIGN[Endpoint.OLLAMA_CHAT]
    below = next((p for p in HOT if path == p or path.startswith(f"{p}/")), None)
    return None if below is None else FOREIGN.get(HOT[below])


def hot_endpoint(target: bytes) -> Endpoint | None:
    """The hot endpoint that a request target means, however it is written; None: not hot."""
    path = unquote(target.partition(b"?")[0].decode("latin-1"))
    return HOT.get(canonical(path))
