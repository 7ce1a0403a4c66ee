"""One request that waits for a slot, and when its turn is.

Priority classes are strict, with ageing: who waits is served in the order of

    rank = arrival - head start,    head start = `max_wait_seconds` / 2 for `high`, 0 for `normal`

in seconds, and in the order of arrival where ranks are equal. So inside a class the first comes
first; a high request passes every normal one that came up to a head start before it; and nobody is
passed by a request that came more than a head start after it. A normal request is thus passed in
the first half of its patience only, and starves under no load that leaves its backend moving.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from nexus_proxy.admission.slots import Hold
from nexus_proxy.config.model import Priority
from nexus_proxy.registry import Backend, Claim
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.routing.types import Candidate

HEAD_START = 0.5
"""Share of `queue.max_wait_seconds` by which a high request counts as come earlier."""

SWAP_SHARE = 1 / 3
"""Share of it after which a request that waits for a change of models goes first, so that there is
time left to drain and to load."""


class Seat(NamedTuple):
    """A slot, taken: for which candidate of which decision. To be entered at once: `with
    seat.hold:`."""

    decision: Decision
    candidate: Candidate
    hold: Hold


Decide = Callable[[], Iterable[tuple[Decision, Candidate]]]
"""Routes a request anew: all who could serve it now, busy or not, the best first. Raises where
there is nobody."""


class Wait(NamedTuple):
    """What keeps a request from one backend. `swap`: it is not the number of slots, but what a
    change of models would do to others. `claim`: a model is being loaded or unloaded there."""

    backend: Backend
    model: str
    why: str
    swap: bool
    claim: Claim | None = None


class Timer(Protocol):
    """What `call_later` of an event loop returns."""

    def cancel(self) -> None:
        """Do not call."""


class Waiter:
    """A request in the queue.

    `waits` holds what keeps it from each backend that could serve it, by name, as of the last time
    it was routed. `passed` counts the requests for other models that were let in on a backend which
    it waits to drain. `turn` is settled once: with a `Seat`, or with the error to answer.
    """

    __slots__ = (
        "decide",
        "decision",
        "id",
        "model",
        "passed",
        "priority",
        "rank",
        "since",
        "started",
        "swaps_at",
        "timers",
        "turn",
        "waits",
    )

    def __init__(
        self,
        decide: Decide,
        *,
        id: str,
        model: str,
        priority: Priority,
        since: float,
        patience: float,
    ) -> None:
        self.decide, self.id, self.model, self.priority = decide, id, model, priority
        self.since, self.started = since, time.time()
        early = HEAD_START * patience if priority is Priority.HIGH else 0.0
        self.rank = since - early
        self.swaps_at = since + SWAP_SHARE * patience
        self.passed = 0
        self.waits: dict[str, Wait] = {}
        self.decision: Decision | None = None
        self.timers: list[Timer] = []
        self.turn: asyncio.Future[Seat] = asyncio.get_running_loop().create_future()

    def seat(self, seat: Seat) -> None:
        """It is its turn."""
        self.turn.set_result(seat)

    def fail(self, error: Exception) -> None:
        """It waits in vain."""
        self.turn.set_exception(error)

    def abandon(self) -> None:
        """The request is gone; a slot that it was given but has not taken is given back."""
        turn = self.turn
        if not turn.done():
            turn.cancel()
        elif not turn.cancelled() and turn.exception() is None:
            turn.result().hold.release()
