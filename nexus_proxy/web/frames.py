"""What `/ws` says: the whole state once, then only what is no longer as it was. Pure.

A message is a JSON object. `{"type": "snapshot", …}` replaces all that the reader knows.
`{"type": "changes", …}` has the parts that changed: those of `PARTS` whole, and of the collections
(`backends`, `trends`, `models`, `requests`, `quality`) `{"set": {key: value}, "gone": [key]}`.
Both have `now`, seconds since the epoch by the gateway's clock. Values are as
`nexus_proxy.state` declares them, but for what would make many of them large: a backend's models
are a collection of their own, and a request's decision is left out; `/nexus/v1/why/{id}` tells it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.state import BackendView, RequestView, Snapshot

SHOWN_REQUESTS = 200
PARTS = (
    "version",
    "endpoint",
    "started_at",
    "draining",
    "strategy",
    "totals",
    "aliases",
    "pins",
    "problems",
    "searching",
    "budget",
    "spend",
    "trend",
    "queue",
    "operations",
    "airplane",
)
Collections = dict[str, dict[str, Any]]


class Frame(Struct, frozen=True):
    """What the dashboard shows of one moment."""

    now: float
    parts: dict[str, Any]
    collections: Collections


def frame(snapshot: Snapshot) -> Frame:
    """The part of a snapshot that is shown."""
    return Frame(
        snapshot.taken_at,
        {part: getattr(snapshot, part) for part in PARTS},
        {
            "backends": {view.name: _slim(view) for view in snapshot.backends},
            "trends": snapshot.trends,
            "models": {view.name: view.models for view in snapshot.backends},
            "requests": {view.id: _short(view) for view in _shown(snapshot.requests)},
            "quality": {f"{view.backend}/{view.model}": view for view in snapshot.quality},
        },
    )


def whole(shown: Frame) -> str:
    """The message that tells all of it."""
    return _encoded({"type": "snapshot", "now": shown.now, **shown.parts, **shown.collections})


def changes(before: Frame, after: Frame) -> str | None:
    """The message that makes `after` of `before`; None where nothing changed."""
    changed: dict[str, Any] = {
        part: value for part, value in after.parts.items() if value != before.parts[part]
    }
    for name, now in after.collections.items():
        then = before.collections[name]
        fresh = {key: value for key, value in now.items() if then.get(key) != value}
        gone = [key for key in then if key not in now]
        if fresh or gone:
            changed[name] = {"set": fresh, "gone": gone}
    return _encoded({"type": "changes", "now": after.now, **changed}) if changed else None


def beat(now: float) -> str:
    """The message that nothing changed, by which a browser knows that the gateway is there."""
    return _encoded({"type": "changes", "now": now})


def _shown(views: tuple[RequestView, ...]) -> Iterator[RequestView]:
    """All that run, and the newest of the others."""
    for number, view in enumerate(views):
        if number < SHOWN_REQUESTS or view.total_ms is None:
            yield view


def _slim(view: BackendView) -> BackendView:
    return msgspec.structs.replace(view, models=())


def _short(view: RequestView) -> RequestView:
    return msgspec.structs.replace(view, decision=None, notes=())


def _encoded(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()
