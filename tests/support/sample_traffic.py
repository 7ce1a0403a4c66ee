"""Five minutes of traffic, always the same: two rushes, a lull, and a few failures in the last."""

from __future__ import annotations

import math

from nexus_proxy.state import Trend

PARTS = 150


def trend() -> Trend:
    waves = [max(0.0, math.sin(part / 11) + 0.4 * math.sin(part / 3)) for part in range(PARTS)]
    return Trend(
        seconds=2.0,
        requests=tuple(round(wave * 3) for wave in waves),
        failures=tuple(int(part in {130, 131, 138}) for part in range(PARTS)),
        tokens=tuple(round(wave * 250) for wave in waves),
        in_flight=tuple(round(wave * 4) for wave in waves),
        first_token_ms=tuple(180.0 + 40 * wave if wave > 0.2 else None for wave in waves),
    )
