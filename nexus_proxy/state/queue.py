"""The queue: who waits for a slot, and for whose."""

from __future__ import annotations

from msgspec import Struct

from nexus_proxy.config.model import Priority


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why a waiting request is not on one of the backends that could serve it: `all 2 slots
    taken`, `swap: qwen3:8b runs 1 request`."""

    backend: str
    model: str
    why: str


class WaiterView(Struct, frozen=True, kw_only=True):
    """One request that waits for a slot. `position` counts from 1; `eta_seconds` is None while
    nothing was measured on the backends that it waits for."""

    id: str
    model: str
    priority: Priority
    since: float
    position: int
    eta_seconds: float | None
    waits_for: tuple[Obstacle, ...]


class QueueView(Struct, frozen=True, kw_only=True):
    """The queue at one moment: its settings, and who waits, in the order of service."""

    enabled: bool
    max_size: int
    max_wait_seconds: float
    waiting: tuple[WaiterView, ...]
