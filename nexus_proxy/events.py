"""What happens in the gateway, as frozen values, and the bus that tells it.

The bus is synchronous and ordered: `publish` calls each subscriber before it returns, so a
subscriber must be quick and must not block. One that raises is logged and the others still hear.
Each event has one publisher, named in its docstring.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec import Struct

log = logging.getLogger(__name__)


class Event(Struct, frozen=True, kw_only=True):
    """Base of all events."""


class BackendAdded(Event, frozen=True):
    """registry: a backend is now listed."""

    name: str


class BackendRemoved(Event, frozen=True):
    """registry: a backend is no longer listed."""

    name: str


class BackendChanged(Event, frozen=True):
    """registry: state, switches, models or slots of a backend changed. `what` is a sentence."""

    name: str
    what: str


class AirplaneChanged(Event, frozen=True):
    """registry: airplane mode was switched on or off."""

    on: bool


class QualityChanged(Event, frozen=True):
    """quality: a backend is left out for a model, or used for it again. `what` is a sentence."""

    backend: str
    model: str
    what: str


class OperationChanged(Event, frozen=True):
    """lifecycle: loading, unloading or moving a model began, went on or ended. `what` is a
    sentence."""

    id: str
    what: str
    failed: bool = False


class RequestStarted(Event, frozen=True):
    """history: a request came in."""

    id: str


class RequestProgressed(Event, frozen=True):
    """history: a request was routed, sent, or got its first token."""

    id: str


class RequestQueued(Event, frozen=True):
    """queue: a request waits for a slot from now on, or no longer (`waits` is false)."""

    id: str
    waits: bool


class RequestFinished(Event, frozen=True):
    """history: a request ended, in whatever way. `backend` is None where none was reached."""

    id: str
    backend: str | None


class ConfigReloaded(Event, frozen=True):
    """configuration: a changed file was applied (`diff`: one line per key), or refused
    (`error`)."""

    diff: tuple[str, ...] = ()
    error: str | None = None


class DiscoveryNoted(Event, frozen=True):
    """discovery: something was found, refused or lost; `note` is a sentence."""

    note: str


class BudgetLevelChanged(Event, frozen=True):
    """ledger: spend, without what is only put aside, came near its limit, passed it, or is below it
    again. `level` is `ok`, `soft` or `hard`; `what` is a sentence."""

    level: str
    what: str


class SpendRead(Event, frozen=True):
    """spending: the summary of spend reads differently from now on."""


class GatewayDraining(Event, frozen=True):
    """runtime: no new requests from now on."""


REQUEST_EVENTS = (RequestStarted, RequestProgressed, RequestQueued, RequestFinished)
"""Those that come with every request; under load, thousands a second."""
CHANGE_EVENTS = tuple(kind for kind in Event.__subclasses__() if kind not in REQUEST_EVENTS)
"""All others."""

Subscriber = Callable[[Event], None]


class Bus:
    """Delivers events to subscribers, in order of subscription.

    Attributes:
        follows_requests: somebody hears of requests while they run. For those who would make an
            event at every step of each.
    """

    def __init__(self) -> None:
        self._subscribers: list[tuple[Subscriber, tuple[type[Event], ...]]] = []
        self.follows_requests = False
        self._hearing: dict[type[Event], tuple[Subscriber, ...]] = {}
        """Who hears a kind of event; made at its first publication, since requests publish often
        and most subscribers hear few kinds."""

    def subscribe(self, subscriber: Subscriber, *kinds: type[Event]) -> Callable[[], None]:
        """Hear events of these kinds, or all, from now on. Returns the call that ends it."""
        entry = (subscriber, kinds)
        self._subscribers.append(entry)
        self._recount()

        def unsubscribe() -> None:
            if entry in self._subscribers:
                self._subscribers.remove(entry)
                self._recount()

        return unsubscribe

    def publish(self, event: Event) -> None:
        """Tell all who hear this kind. Never raises."""
        kind = type(event)
        for subscriber in self._hearing_of(kind):
            try:
                subscriber(event)
            except Exception:
                log.exception("a subscriber failed on %s", kind.__name__)

    def _recount(self) -> None:
        self._hearing.clear()
        self.follows_requests = any(
            not kinds or not {RequestStarted, RequestProgressed, RequestQueued}.isdisjoint(kinds)
            for _, kinds in self._subscribers
        )

    def _hearing_of(self, kind: type[Event]) -> tuple[Subscriber, ...]:
        hearing = self._hearing.get(kind)
        if hearing is None:
            hearing = self._hearing[kind] = tuple(
                subscriber for subscriber, kinds in self._subscribers if not kinds or kind in kinds
            )
        return hearing
