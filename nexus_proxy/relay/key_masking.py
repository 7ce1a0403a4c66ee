"""Keeping a backend's key out of what is passed on: some quote the key that they refuse."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from nexus_proxy.telemetry.logs import MASK

SHORTEST = 4
"""Characters. Shorter ones are no secret, and stand in many a word."""
_MASK = MASK.encode()


class KeyMask:
    """One backend's key, as it may turn up in an error of that backend."""

    def __init__(self, key: str | None) -> None:
        self._forms: tuple[bytes, ...] = ()
        if key is not None and len(key) >= SHORTEST:
            quoted = msgspec.json.encode(key)[1:-1]
            self._forms = (key.encode(), quoted, quoted.replace(b"/", b"\\/"))

    def hide(self, data: bytes) -> bytes:
        """`data` without the key."""
        for form in self._forms:
            data = data.replace(form, _MASK)
        return data

    def hide_in(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The same for values of headers."""
        return [(name, self.hide(value)) for name, value in headers]
