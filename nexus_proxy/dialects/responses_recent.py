"""Items of recent answers, so that a client may refer to them instead of sending them back.

The API stores each answer unless it is told `store: false`, and clients rely on it: the Vercel AI
SDK sends `item_reference` in the next step of a tool loop. So what Nexus answered is remembered in
memory, for who asked it and unless `store: false` forbids it, as far as there is room: the oldest
items go first. Nothing is written anywhere, and another process (a replica, a worker) has not heard
of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nexus_proxy.dialects.base import Json

MOST_BYTES = 8 * 1024 * 1024
"""Of all items together, as JSON."""


class Recent:
    """The last items, by their owner and id."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], bytes] = {}
        self._bytes = 0

    def keep(self, owner: str, items: Iterable[Json]) -> None:
        """Remember the items of an answer to `owner`, the name of an API key or empty."""
        for item in items:
            key, told = (owner, item["id"]), msgspec.json.encode(item)
            self._bytes += len(told) - len(self._items.pop(key, b""))
            self._items[key] = told
        while self._bytes > MOST_BYTES:
            self._bytes -= len(self._items.pop(next(iter(self._items))))

    def recalled(self, owner: str, body: Json) -> Json:
        """A request with the items that it refers to in their place, as far as they are known; the
        request itself where it refers to none of them."""
        given = body.get("input")
        if not isinstance(given, list):
            return body
        items = [self._recalled(owner, item) for item in given]
        if all(new is old for new, old in zip(items, given, strict=True)):
            return body
        return {**body, "input": items}

    def _recalled(self, owner: str, item: object) -> object:
        match item:
            case {"type": "item_reference", "id": str(id_)} if (owner, id_) in self._items:
                return msgspec.json.decode(self._items[owner, id_])
        return item
