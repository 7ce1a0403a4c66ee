"""How well backends serve models."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class QualityState(str, Enum):
    """Whether a backend is used for a model, as far as its faults are concerned."""

    IN_USE = "in use"
    EXCLUDED = "left out"
    """It failed too often, and rests. It serves only where nobody else can."""
    HALF_OPEN = "on trial"
    """Its rest is over: one request at a time tries it again."""


class QualityWindow(Struct, frozen=True, kw_only=True):
    """What a backend did with a model over some span of time.

    `faults` are the backend's own and count cut streams; mistakes of callers and clients that left
    are in none of the numbers. `first_token_ms` is the mean; times are milliseconds.
    """

    requests: int = 0
    faults: int = 0
    cuts: int = 0
    first_token_ms: float | None = None
    first_token_p50_ms: float | None = None
    first_token_p95_ms: float | None = None
    tokens_per_second: float | None = None


class QualityParts(Struct, frozen=True, kw_only=True):
    """What a score is made of, each 0 to 100; None: unknown, and not counted."""

    success: float | None = None
    whole: float | None = None
    """Streams that were not cut."""
    first_token: float | None = None
    rate: float | None = None


class QualityView(Struct, frozen=True, kw_only=True):
    """How well a backend serves a model.

    `score` is 0 to 100, None with too few samples. `excluded_until` is when it may be tried again,
    and `reason` why it is left out; both None while it is in use. The trends are the last hour in
    parts of five minutes, oldest first: share of requests that went well (0 to 1), and mean
    first-token time; None where there was nothing.
    """

    backend: str
    model: str
    score: float | None
    parts: QualityParts
    hour: QualityWindow
    day: QualityWindow
    state: QualityState = QualityState.IN_USE
    state_since: float | None = None
    excluded_until: float | None = None
    reason: str | None = None
    success_trend: tuple[float | None, ...] = ()
    first_token_trend: tuple[float | None, ...] = ()
