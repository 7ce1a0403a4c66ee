"""Slots: how many requests a backend has in flight. Held by `with`, so that none can leak."""

from __future__ import annotations

from types import TracebackType

from nexus_proxy.registry import Backend


class hold:
    """Occupy one slot of `backend` for the length of the block, whatever ends it."""

    __slots__ = ("_backend",)

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __enter__(self) -> None:
        self._backend.in_flight += 1
        self._backend.requests += 1

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._backend.in_flight -= 1
