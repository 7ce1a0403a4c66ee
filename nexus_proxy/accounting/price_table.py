"""Public prices, from the `genai-prices` package as it was installed: nothing is fetched.

The package is imported by `PriceTable()` alone, since that takes 0.15 to 0.25 s and 18 MB
(pydantic, an HTTP client it would update itself with, 1,300 models). It knows dated ids
(`gpt-4o-2024-08-06`), dates from which a price holds, long-context tiers, and service tiers. What
it has no price for, or says 0 for (Gemma on Google's free tier), is unknown here: a cloud
provider's zero is a gap in the table until the operator says otherwise.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec import structs

from nexus_proxy.accounting.prices import Price

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice, TieredPrices

_PACKAGE_KEYS = {
    "input": "input_mtok",
    "cached_input": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
    "output": "output_mtok",
    "reasoning": "output_reasoning_mtok",
}
"""Field of `Price` -> the package's name. Its cache writes are those that last five minutes."""
_PROVIDERS = {"openai": "openai", "anthropic": "anthropic", "google": "google"}
"""Type of backend -> the package's provider. Of others it is not known who sends the bill."""
_STANDARD_TIERS = (None, "auto", "default", "standard", "standard_only")


class PriceTable:
    """The package's prices. Making one takes a quarter of a second: do it in a thread."""

    def __init__(self) -> None:
        from genai_prices import __version__
        from genai_prices.data_snapshot import get_snapshot

        self.origin = f"genai-prices {__version__}"
        self._snapshot = get_snapshot()

    def find(
        self, backend_type: str, model: str, service_tier: str | None, at: datetime
    ) -> Price | None:
        """The price of a model at a time, or None where it is not known.

        A service tier that the package has no prices for gets the standard ones, not exact.
        """
        provider = _PROVIDERS.get(backend_type)
        if provider is None:
            return None
        try:
            _, found = self._snapshot.find_provider_model(
                model.removeprefix("models/"), None, provider, None
            )
        except LookupError:
            return None
        standard = service_tier in _STANDARD_TIERS
        known = standard or any(
            variant.when == {"service_tier": service_tier} for variant in found.price_variants or ()
        )
        context = None if standard or service_tier is None else {"service_tier": service_tier}
        return self._read(found.get_prices(at, context), exact=known)

    def _read(self, prices: ModelPrice, *, exact: bool) -> Price | None:
        rates: dict[str, Decimal | TieredPrices | None] = {
            ours: getattr(prices, theirs) for ours, theirs in _PACKAGE_KEYS.items()
        }
        base = Price(origin=self.origin, exact=exact, **_rates(rates, 0))
        if base.input is None:
            return None
        tiered = (rate for rate in rates.values() if not isinstance(rate, Decimal | None))
        starts = sorted({tier.start for rate in tiered for tier in rate.tiers})
        return structs.replace(
            base, above=tuple((s, structs.replace(base, **_rates(rates, s + 1))) for s in starts)
        )


def _rates(rates: dict[str, Decimal | TieredPrices | None], prompt_tokens: int) -> dict[str, Any]:
    """Fields of a `Price` for a prompt of this length; None for what is not priced, or at 0."""
    found = {}
    for name, rate in rates.items():
        if not isinstance(rate, Decimal | None):
            passed = [tier.price for tier in rate.tiers if prompt_tokens > tier.start]
            rate = passed[-1] if passed else rate.base
        found[name] = float(rate) if rate else None
    return found
