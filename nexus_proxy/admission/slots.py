"""Slots: how many requests a backend has in flight. Held by `with`, so that none can leak."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nexus_proxy.registry import Backend


@contextmanager
def hold(backend: Backend) -> Iterator[None]:
    """Occupy one slot of `backend` for the length of the block, whatever ends it."""
    backend.in_flight += 1
    backend.requests += 1
    try:
        yield
    finally:
        backend.in_flight -= 1
