"""The parts of a sample snapshot that policies make: the queue, quality and API keys."""

from __future__ import annotations

from typing import Any

import msgspec

from nexus_proxy.config.model import Priority, Zone
from nexus_proxy.state import (
    BudgetLevel,
    BudgetStanding,
    KeyView,
    Obstacle,
    QualityParts,
    QualityState,
    QualityView,
    QualityWindow,
    WaiterView,
)

NOW = 1_750_000_000.0

BUDGET = BudgetStanding(
    month="2025-06",
    spent_usd=15.2,
    reserved_usd=0.31,
    unknown_requests=2,
    limit_usd=20.0,
    soft_percent=75.0,
    action="block_cloud",
    level=BudgetLevel.SOFT,
)


def waiter(id: str = "req_00", **changes: Any) -> WaiterView:
    """A request that waits for a slot, changed as asked."""
    view = WaiterView(
        id=id,
        model="qwen3:8b",
        priority=Priority.NORMAL,
        since=NOW - 4,
        position=1,
        eta_seconds=12.4,
        waits_for=(Obstacle(backend="ollama", model="qwen3:8b", why="all 4 slots taken"),),
    )
    return msgspec.structs.replace(view, **changes)


def queue() -> tuple[WaiterView, ...]:
    """One that waits for a slot, and one that waits for a change of models as well."""
    swap = Obstacle(backend="ollama", model="llava:13b", why="swap: qwen3:8b runs 1 request")
    other = Obstacle(backend="vllm-b", model="llava:13b", why="all 64 slots taken")
    return (
        waiter(priority=Priority.HIGH),
        waiter(
            "req_99",
            model="llava:13b",
            since=NOW - 9,
            position=2,
            eta_seconds=None,
            waits_for=(swap, other),
        ),
    )


def quality(model: str = "qwen3:8b", backend: str = "ollama", **changes: Any) -> QualityView:
    """A backend that serves a model well, changed as asked."""
    view = QualityView(
        backend=backend,
        model=model,
        score=96.2,
        parts=QualityParts(success=98.4, whole=99.2, first_token=100.0, rate=85.0),
        hour=QualityWindow(
            requests=125,
            faults=2,
            cuts=1,
            first_token_ms=231.0,
            first_token_p50_ms=184.0,
            first_token_p95_ms=902.0,
            tokens_per_second=17.0,
        ),
        day=QualityWindow(
            requests=1_812,
            faults=12,
            cuts=3,
            first_token_ms=248.0,
            first_token_p50_ms=190.0,
            first_token_p95_ms=1_204.0,
            tokens_per_second=17.3,
        ),
        success_trend=(1.0, 1.0, None, 0.9, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0),
        first_token_trend=(180, 190, None, 240, 210, 200, 900, 300, 220, 190, 185, 180),
    )
    return msgspec.structs.replace(view, **changes)


def qualities() -> tuple[QualityView, ...]:
    """One in each state, and one that little is known of."""
    return (
        quality(
            "meta-llama/Llama-3.3-70B-Instruct",
            "vllm-b",
            score=None,
            parts=QualityParts(),
            hour=QualityWindow(requests=3, first_token_p50_ms=71.0, tokens_per_second=91.0),
            day=QualityWindow(requests=4, first_token_p50_ms=71.0, tokens_per_second=91.0),
            success_trend=(*[None] * 11, 1.0),
            first_token_trend=(*[None] * 11, 70.0),
        ),
        quality(),
        quality(
            backend="lmstudio",
            score=61.0,
            state=QualityState.HALF_OPEN,
            state_since=NOW - 95,
            excluded_until=NOW - 35,
            reason="10 of its last 20 requests failed",
        ),
        quality(
            backend="llamacpp-attic",
            score=12.4,
            parts=QualityParts(success=20.0, whole=60.0),
            hour=QualityWindow(requests=10, faults=8, cuts=4),
            day=QualityWindow(requests=27, faults=9, cuts=4),
            state=QualityState.EXCLUDED,
            state_since=NOW - 12,
            excluded_until=NOW + 18,
            reason="8 of its last 10 requests failed",
            success_trend=(*[None] * 10, 0.25, 0.0),
            first_token_trend=(None,) * 12,
        ),
    )


def key(name: str = "laptop", **changes: Any) -> KeyView:
    """An API key without any limit, changed as asked."""
    view = KeyView(
        name=name,
        zone=Zone.OPEN,
        priority="normal",
        models=(),
        requests_per_minute=None,
        requests_left=None,
        tokens_per_minute=None,
        tokens_left=None,
        monthly_limit_usd=None,
        spent_usd=None,
        requests=64,
        refused=0,
        tokens=48_210,
        last_used=NOW - 12,
    )
    return msgspec.structs.replace(view, **changes)


def keys() -> tuple[KeyView, ...]:
    """With and without limits, used up and never used."""
    return (
        key(
            "ci",
            models=("qwen3:*", "nomic-embed-text"),
            requests_per_minute=60,
            requests_left=0,
            tokens_per_minute=100_000,
            tokens_left=61_200,
            monthly_limit_usd=20.0,
            spent_usd=4.21,
            requests=1_204,
            refused=17,
            tokens=902_113,
            last_used=NOW - 1,
        ),
        key(),
        key(
            "phone",
            zone=Zone.INTERNAL,
            priority="high",
            monthly_limit_usd=5.0,
            requests=0,
            tokens=0,
            last_used=None,
        ),
    )
