"""How a backend stands with one model, as far as routing reads it. Owned by `quality`."""

from __future__ import annotations


class Standing:
    """Plain attributes, since routing reads them for every candidate of every request.

    `score` is 0 to 100, None: unknown. `excluded_until` is 0 while it is in use; else the
    monotonic second from which one request at a time may try it again. `sent` counts requests
    that were sent to it since it was left out, and run.
    """

    __slots__ = ("excluded_until", "score", "sent")

    def __init__(self) -> None:
        self.score: float | None = None
        self.excluded_until = 0.0
        self.sent = 0
