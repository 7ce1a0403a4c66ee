"""The score of a backend with a model: 0 to 100, from what it did lately.

The weighted mean of four parts, each 0 to 100; a part that nothing is known of is left out:

- success, weight 50: 100 × (1 − faults ÷ requests). What counts most is to get an answer.
- whole, weight 15: 100 × (1 − cut streams ÷ requests). A cut stream is a fault already and counts
  here once more, since it is the one that the gateway cannot hide by asking another backend.
- first token, weight 20: 100 while the median is at most `quality.ttft_penalty_threshold_ms`,
  beyond it 100 × threshold ÷ median: twice as late, half as good. The median, since one prompt of
  100 KB says little about the others.
- rate, weight 15: 100 × tokens per second ÷ 20, at most 100. Twenty tokens a second is about twice
  as fast as people read; faster is not better for them.

It is made of the last hour if that has enough samples, else of the last day, else it is unknown:
neither 0 nor 100, since both would send a newcomer's traffic the wrong way.
"""

from __future__ import annotations

from nexus_proxy.config.model import QualityConfig
from nexus_proxy.state import QualityParts, QualityWindow

WEIGHTS = {"success": 50, "whole": 15, "first_token": 20, "rate": 15}
GOOD_RATE = 20.0
"""Tokens per second."""

UNKNOWN = QualityParts()


def judge(
    hour: QualityWindow, day: QualityWindow, config: QualityConfig
) -> tuple[float | None, QualityParts]:
    """The score and its parts; None and no parts where there are too few samples."""
    for window in (hour, day):
        if window.requests >= config.min_samples:
            parts = parts_of(window, config.ttft_penalty_threshold_ms)
            return weighed(parts), parts
    return None, UNKNOWN


def parts_of(window: QualityWindow, threshold_ms: float) -> QualityParts:
    """The parts over one window that has samples. A threshold of 0 asks nothing of the first
    token."""
    median, rate = window.first_token_p50_ms, window.tokens_per_second
    return QualityParts(
        success=100.0 * (1.0 - window.faults / window.requests),
        whole=100.0 * (1.0 - window.cuts / window.requests),
        first_token=None if median is None else _promptness(median, threshold_ms),
        rate=None if rate is None else 100.0 * min(1.0, max(0.0, rate) / GOOD_RATE),
    )


def weighed(parts: QualityParts) -> float:
    """The weighted mean of the parts that are known."""
    known: list[tuple[int, float]] = [
        (weight, value)
        for name, weight in WEIGHTS.items()
        if (value := getattr(parts, name)) is not None
    ]
    return sum(weight * value for weight, value in known) / sum(weight for weight, _ in known)


def _promptness(median_ms: float, threshold_ms: float) -> float:
    if threshold_ms <= 0 or median_ms <= threshold_ms:
        return 100.0
    return 100.0 * threshold_ms / median_ms
