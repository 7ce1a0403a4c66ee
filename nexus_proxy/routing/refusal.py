"""When nobody is left: the error that says who was left out, by which stage, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from nexus_proxy.errors import (
    BudgetExceededError,
    ContextOverflowError,
    NexusError,
    RoutingRefusedError,
)
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.routing.types import Rejection

RECOVERY_SECONDS = 5.0
"""When to come back for a backend that is down: it is probed every few seconds."""
BUSY_SECONDS = 2.0
TOLD_HOW = ("lifecycle", "airplane")
"""Stages whose remedy stands in the sentence too: a command that gives away nothing."""


def refuse(decisions: Sequence[Decision]) -> NexusError:
    """The error for a request whose plan holds no candidate."""
    rejections = [rejection for decision in decisions for rejection in decision.rejections]
    first = decisions[0]
    name = first.facts.model_asked[:200]
    if rejections and all("do not fit its context" in r.reason for r in rejections):
        return ContextOverflowError(
            f"The prompt is too long for {name!r}: {rejections[0].reason} on "
            f"{rejections[0].backend}. Shorten it, or start a backend with a larger context.",
            param="messages",
        )
    spent = next((r for r in rejections if r.stage == "budget" and "is spent" in r.reason), None)
    if spent is not None and all(r.stage in ("budget", "analyze") for r in rejections):
        fix = f": {spent.fix}" if spent.fix else ""
        return BudgetExceededError(f"{name!r} cannot be served now: {spent.reason}{fix}.")
    # A backend may be left out for one reason under several models of the plan.
    told = list(dict.fromkeys((r.backend, r.stage, r.reason, r.fix) for r in rejections))
    reasons = "; ".join(
        f"{backend}: {reason}{f' ({fix})' if fix and stage in TOLD_HOW else ''}"
        for backend, stage, reason, fix in told[:4]
    )
    return RoutingRefusedError(
        f"No backend can serve {name!r} now. {reasons}{'; …' if len(told) > 4 else ''}",
        context={
            "required_tier": first.demand.min_tier,
            "required_zone": first.demand.zone.label,
            "available_backends": sorted({r.backend for r in rejections}),
            "rejections": [
                {"backend": backend, "stage": stage, "reason": reason, "fix": fix}
                for backend, stage, reason, fix in told
            ],
            "eta_seconds": None,
        },
        retry_after=_when_to_retry(rejections),
    )


def _when_to_retry(rejections: Sequence[Rejection]) -> float | None:
    """Seconds, or None when waiting cannot help."""
    if any(r.stage == "lifecycle" and r.reason.startswith("down") for r in rejections):
        return RECOVERY_SECONDS
    return None
