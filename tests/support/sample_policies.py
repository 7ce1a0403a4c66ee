"""The parts of a sample snapshot that policies make: the queue, quality and API keys."""

from __future__ import annotations

from typing import Any

import msgspec

from nexus_proxy.config.model import Priority, Zone
from nexus_proxy.state import (
    BackendTrend,
    BudgetLevel,
    BudgetStanding,
    KeyView,
    Obstacle,
    QualityParts,
    QualityState,
    QualityView,
    QualityWindow,
    SpendRow,
    SpendSummary,
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


def spend_row(label: str, measured: float = 0.0, **changes: Any) -> SpendRow:
    """Ten requests that cost so much, changed as asked."""
    row = SpendRow(
        label=label,
        requests=10,
        usd_measured=measured,
        usd_estimated=0.0,
        usd_reserved=0.0,
        unknown_requests=0,
        free_requests=0,
        prompt_tokens=12_040,
        completion_tokens=3_110,
    )
    return msgspec.structs.replace(row, **changes)


def spend(**changes: Any) -> SpendSummary:
    """Half a month: measured, estimated, unknown and free, each on a day of its own and together;
    changed as asked. The sums are those of `BUDGET`."""
    days = [spend_row(f"2025-06-{day:02}", requests=0) for day in range(1, 16)]
    for day, measured in ((2, 0.8), (3, 1.1), (4, 0.0042), (5, 2.4), (6, 1.2), (10, 3.1)):
        days[day - 1] = spend_row(f"2025-06-{day:02}", measured)
    days[10] = spend_row("2025-06-11", 1.3958, usd_estimated=1.6)
    days[11] = spend_row("2025-06-12", usd_estimated=1.7, unknown_requests=1)
    days[12] = spend_row("2025-06-13", free_requests=10)
    days[14] = spend_row("2025-06-15", 1.9, unknown_requests=1, usd_reserved=0.31)
    summary = SpendSummary(
        month="2025-06",
        today="2025-06-15",
        days=tuple(days),
        backends=(
            spend_row("openai", 11.9, requests=74, usd_estimated=3.3, usd_reserved=0.31),
            spend_row("groq", requests=2, unknown_requests=2),
            spend_row("ollama", requests=24, free_requests=24, prompt_tokens=1_204_311),
        ),
        models=(
            spend_row("gpt-5-mini", 11.8958, requests=60, usd_estimated=3.3, usd_reserved=0.31),
            spend_row("text-embedding-3-small", 0.0042, requests=14),
            spend_row("qwen3:8b", requests=24, free_requests=24),
            spend_row("meta-llama/Llama-3.3-70B-Instruct", requests=2, unknown_requests=2),
        ),
        keys=(
            spend_row("laptop", 11.9, requests=80),
            spend_row("", usd_estimated=3.3, requests=20, unknown_requests=2),
        ),
        forecast_usd=26.4,
    )
    return msgspec.structs.replace(summary, **changes)


def backend_trend(**changes: Any) -> BackendTrend:
    """Ten minutes of a backend that was idle in the middle, changed as asked."""
    view = BackendTrend(
        seconds=40,
        requests=(2, 3, 3, 0, 0, 0, 1, 4, 6, 5, 4, 3, 4, 2, 1),
        first_token_ms=(180, 190, 240, *[None] * 3, 900, 300, 220, 190, 185, 180, 182, 190, 184),
        tokens_per_second=(12, 20, 22, 0, 0, 0, 4, 30, 41, 38, 30, 21, 29, 15, 6),
    )
    return msgspec.structs.replace(view, **changes)


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
        watch=False,
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
