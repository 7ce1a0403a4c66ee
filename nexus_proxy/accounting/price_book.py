"""Which price holds for a backend's model: the operator's word, then the public table."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from msgspec import structs

from nexus_proxy.accounting.price_table import PriceTable
from nexus_proxy.accounting.prices import Price, Unpriced
from nexus_proxy.config.model import PriceConfig
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

_MOST_REMEMBERED = 4_096
_DAY = 86_400
_OVERRIDES = {
    "input": "input_usd_per_million",
    "cached_input": "cached_input_usd_per_million",
    "cache_write": "cache_write_usd_per_million",
    "output": "output_usd_per_million",
}


class PriceBook:
    """Prices by backend and model, looked up once a day and else remembered.

    The public table is loaded in a thread by `ready`, and only when a backend that may cost money
    is there; until then such a backend's prices are unknown, except those of the configuration.

    Attributes:
        loaded: whether `ready` has nothing left to do.
        problem: a sentence if the table could not be loaded, for the snapshot's `problems`.
    """

    def __init__(
        self, overrides: Sequence[PriceConfig] = (), *, clock: Callable[[], float] = time.time
    ) -> None:
        self.loaded = False
        self.problem: str | None = None
        self._overrides = tuple(overrides)
        self._clock = clock
        self._table: PriceTable | None = None
        self._loading: asyncio.Task[None] | None = None
        self._known: dict[tuple[str, str, str, bool, str | None], Price | Unpriced] = {}
        self._day = 0

    def configure(self, overrides: Sequence[PriceConfig]) -> None:
        """Take the `[[prices]]` of a new configuration."""
        self._overrides = tuple(overrides)
        self._known.clear()

    async def ready(self) -> None:
        """Load the public table if that was not done yet. Never raises: see `problem`."""
        if self.loaded:
            return
        if self._loading is None:
            self._loading = spawn(self._load(), name="prices")
        await asyncio.shield(self._loading)

    async def _load(self) -> None:
        try:
            self._table = await asyncio.to_thread(PriceTable)
        except Exception as error:  # noqa: BLE001 - a foreign package's import may fail in any way
            self.problem = (
                f"The price table could not be read ({type(error).__name__}: {error}): cloud costs "
                "are unknown. Reinstall genai-prices, or set [[prices]] in the configuration."
            )
            log.error(self.problem)
        self._known.clear()
        self.loaded = True

    def price(
        self,
        backend: str,
        backend_type: str,
        model: str,
        *,
        may_cost: bool,
        service_tier: str | None = None,
    ) -> Price | Unpriced:
        """The price of `model` (the id that the backend serves it by) there and now.

        `may_cost` is False for what runs on the operator's own machines: no cloud kind of backend,
        no model that it runs elsewhere (`ModelInfo.remote`), no address out on the internet.
        `service_tier` is the one that was asked for, or better the one that the answer names.
        """
        today = int(self._clock()) // _DAY
        if today != self._day:
            self._known.clear()
            self._day = today
        key = (backend, backend_type, model, may_cost, service_tier)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            found = self._known[key] = self._look_up(*key)
        return found

    def _look_up(
        self, backend: str, backend_type: str, model: str, may_cost: bool, service_tier: str | None
    ) -> Price | Unpriced:
        now = datetime.fromtimestamp(self._clock(), UTC)
        public = None
        if may_cost and self._table is not None:
            public = self._table.find(backend_type, model, service_tier, now)
        for position, entry in enumerate(self._overrides):
            if entry.backend in (None, backend) and fnmatchcase(model, entry.model):
                return _overridden(public, entry, f"prices[{position}] of the configuration")
        if public is not None:
            return public
        return Unpriced.UNKNOWN if may_cost else Unpriced.FREE


def _overridden(public: Price | None, entry: PriceConfig, origin: str) -> Price:
    """What the operator set; the rest as the public table has it.

    A set price is the operator's for every length of prompt, so a tier keeps only what is not set.
    """
    said = {
        ours: rate
        for ours, theirs in _OVERRIDES.items()
        if (rate := getattr(entry, theirs)) is not None
    }
    if public is None:
        return Price(origin=origin, **said)
    if not {"input", "output"} <= said.keys():
        origin = f"{origin}, else {public.origin}"
    exact = public.exact or {"input", "output"} <= said.keys()
    return structs.replace(
        public,
        origin=origin,
        exact=exact,
        **said,
        above=tuple(
            (tokens, structs.replace(price, origin=origin, exact=exact, **said))
            for tokens, price in public.above
        ),
    )
