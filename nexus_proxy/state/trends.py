"""What readers see of the last minutes, in parts."""

from __future__ import annotations

from msgspec import Struct


class BackendTrend(Struct, frozen=True, kw_only=True):
    """What one backend did lately, in parts of `seconds`, oldest first; the last one still runs.

    A request counts in the part in which it ended. `first_token_ms` is the mean, None where there
    was none; `tokens_per_second` is what all its requests together were given.
    """

    seconds: int
    requests: tuple[int, ...]
    first_token_ms: tuple[float | None, ...]
    tokens_per_second: tuple[float, ...]


class Trend(Struct, frozen=True, kw_only=True):
    """Traffic of the last minutes in parts of `seconds`, oldest first; the last one is not over.

    `requests` came in the part; `failures` ended in it, and `tokens` were written. `in_flight` is
    the most that ran at a time. `first_token_ms` is the mean of the requests that ended in the
    part; None: none did. `number` is the last part's, so that readers can put parts together in the
    same way each time.
    """

    seconds: float = 1.0
    number: int = 0
    requests: tuple[int, ...] = ()
    failures: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()
    in_flight: tuple[int, ...] = ()
    first_token_ms: tuple[float | None, ...] = ()
