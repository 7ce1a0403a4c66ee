"""What a request is told that waited in vain, or could not wait at all."""

from __future__ import annotations

from typing import Any

from nexus_proxy.admission.waiter import Waiter
from nexus_proxy.config.model import QueueConfig
from nexus_proxy.errors import QueueFullError, QueueTimeoutError
from nexus_proxy.routing.refusal import BUSY_SECONDS
from nexus_proxy.wording import plural

TOLD = 4
"""Backends that the sentence names."""


def full(
    waiter: Waiter, config: QueueConfig, waiting: int, eta_seconds: float | None
) -> QueueFullError:
    """There is no place in the queue, or no queue."""
    if config.enabled:
        verb = "waits" if waiting == 1 else "wait"
        rest = f"{plural(waiting, 'other request')} {verb} already (queue.max_size)"
    else:
        rest = "the queue is off (queue.enabled)"
    return QueueFullError(
        f"All who could serve {waiter.model[:200]!r} are busy, and {rest}. {_who(waiter)}. "
        f"{_when(eta_seconds)}",
        context=_context(waiter, eta_seconds),
        retry_after=BUSY_SECONDS if eta_seconds is None else eta_seconds,
    )


def late(waiter: Waiter, patience: float, eta_seconds: float | None) -> QueueTimeoutError:
    """It waited as long as it may."""
    return QueueTimeoutError(
        f"No slot became free for {waiter.model[:200]!r} in {patience:g} s "
        f"(queue.max_wait_seconds). {_who(waiter)}. {_when(eta_seconds)}",
        context=_context(waiter, eta_seconds),
        retry_after=BUSY_SECONDS if eta_seconds is None else eta_seconds,
    )


def _who(waiter: Waiter) -> str:
    reasons = [f"{name}: {wait.why}" for name, wait in waiter.waits.items()]
    return "; ".join(reasons[:TOLD]) + ("; …" if len(reasons) > TOLD else "")


def _when(eta_seconds: float | None) -> str:
    if eta_seconds is None:
        return "How long they take is not known yet."
    return f"Asked again now, its turn would come in about {max(1, round(eta_seconds))} s."


def _context(waiter: Waiter, eta_seconds: float | None) -> dict[str, Any]:
    demand = waiter.decision.demand if waiter.decision is not None else None
    return {
        "required_tier": None if demand is None else demand.min_tier,
        "required_zone": None if demand is None else demand.zone.label,
        "available_backends": sorted(waiter.waits),
        "rejections": [
            {"backend": name, "stage": "schedule", "reason": wait.why, "fix": None}
            for name, wait in waiter.waits.items()
        ],
        "eta_seconds": eta_seconds,
    }
