"""Costs against invoices worked out by hand from the providers' price pages."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import pytest

from nexus_proxy.accounting.price_table import PriceTable
from nexus_proxy.accounting.prices import Price, cost
from nexus_proxy.accounting.usage import Provenance, TokenUsage, counted_inside

AT = datetime(2026, 11, 23, tzinfo=UTC)


class Page(NamedTuple):
    """USD per million tokens, as the provider's price page has them."""

    provider: str
    model: str
    input: float
    cached: float | None
    write: float | None
    output: float | None


PAGES = [
    Page("openai", "gpt-4o", 2.50, 1.25, None, 10.00),
    Page("openai", "gpt-4o-2024-11-20", 2.50, 1.25, None, 10.00),
    Page("openai", "gpt-4o-2024-05-13", 5.00, None, None, 15.00),
    Page("openai", "gpt-4o-mini-2024-07-18", 0.15, 0.075, None, 0.60),
    Page("openai", "gpt-4.1", 2.00, 0.50, None, 8.00),
    Page("openai", "o3", 2.00, 0.50, None, 8.00),
    Page("openai", "o4-mini", 1.10, 0.275, None, 4.40),
    Page("openai", "o1-pro", 150.00, None, None, 600.00),
    Page("openai", "gpt-5", 1.25, 0.125, None, 10.00),
    Page("openai", "gpt-5-mini", 0.25, 0.025, None, 2.00),
    Page("openai", "text-embedding-3-small", 0.02, None, None, None),
    Page("anthropic", "claude-3-5-haiku-20241022", 0.80, 0.08, 1.00, 4.00),
    Page("anthropic", "claude-sonnet-4-5-20250929", 3.00, 0.30, 3.75, 15.00),
    Page("anthropic", "claude-opus-4-1", 15.00, 1.50, 18.75, 75.00),
    Page("anthropic", "claude-haiku-4-5", 1.00, 0.10, 1.25, 5.00),
    Page("google", "gemini-2.5-pro", 1.25, 0.125, None, 10.00),
    Page("google", "models/gemini-2.5-flash", 0.30, 0.03, None, 2.50),
]


@pytest.fixture(scope="module")
def table() -> PriceTable:
    return PriceTable()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.model)
def test_a_price_is_what_the_provider_publishes(table: PriceTable, page: Page) -> None:
    price = table.find(page.provider, page.model, None, AT)
    assert price is not None
    assert price.exact
    assert (price.input, price.cached_input, price.output) == (page.input, page.cached, page.output)
    if page.write is not None:
        assert price.cache_write == page.write


def priced(table: PriceTable, provider: str, model: str, tier: str | None = None) -> Price:
    price = table.find(provider, model, tier, AT)
    assert price is not None
    return price


CHAT = counted_inside(12_000, 800, total=12_800, cached=10_240, reasoning=500)
INVOICES = [
    # 1,760 x 2.50 + 10,240 x 1.25 + 800 x 10.00, per million
    ("openai", "gpt-4o", None, CHAT, 0.0252),
    # 1,760 x 1.25 + 10,240 x 0.125 + 800 x 10; reasoning is billed as output
    ("openai", "gpt-5", None, CHAT, 0.01148),
    ("openai", "gpt-5", "default", CHAT, 0.01148),
    # twice that, and half of it
    ("openai", "gpt-5", "priority", CHAT, 0.02296),
    ("openai", "gpt-5", "flex", CHAT, 0.00574),
    # 300,000 are more than 272,000, so that everything costs more: 300,000 x 5.00 + 1,000 x 22.50
    ("openai", "gpt-5.4", None, counted_inside(300_000, 1_000), 1.5225),
    # exactly 272,000 do not: 272,000 x 2.50 + 1,000 x 15.00
    ("openai", "gpt-5.4", None, counted_inside(272_000, 1_000), 0.695),
    # 2,000 x 0.02
    ("openai", "text-embedding-3-small", None, counted_inside(2_000, None, total=2_000), 0.00004),
    # 50 x 3.00 + 20,000 x 0.30 + 1,000 x 3.75 + 600 x 15.00
    (
        "anthropic",
        "claude-sonnet-4-5",
        None,
        counted_inside(21_050, 600, cached=20_000, cache_write=1_000),
        0.0189,
    ),
    # 100 x 3 + 1,000 x 3.75 + 2,000 x 6.00 (kept for an hour) + 10 x 15
    (
        "anthropic",
        "claude-sonnet-4-5",
        None,
        counted_inside(3_100, 10, cache_write=3_000, cache_write_1h=2_000),
        0.0162,
    ),
    # cache reads count for the long context: 1,000 x 6 + 200,000 x 0.60 + 100 x 22.50
    (
        "anthropic",
        "claude-sonnet-4-5",
        None,
        counted_inside(201_000, 100, cached=200_000),
        0.12825,
    ),
    # thoughts that only the total counts: 1,000 x 1.25 + (50 + 450) x 10
    ("google", "gemini-2.5-pro", None, counted_inside(1_000, 50, total=1_500), 0.00625),
    # 250,000 x 2.50 + 2,000 x 15
    ("google", "gemini-2.5-pro", None, counted_inside(250_000, 2_000), 0.655),
]


@pytest.mark.parametrize(("provider", "model", "tier", "usage", "usd"), INVOICES)
def test_a_cost_is_what_the_invoice_says(
    table: PriceTable, provider: str, model: str, tier: str | None, usage: TokenUsage, usd: float
) -> None:
    billed = cost(priced(table, provider, model, tier), usage)
    assert billed.usd == pytest.approx(usd, rel=1e-9)
    assert billed.provenance is Provenance.MEASURED


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("google", "gemma-3-27b-it"),  # 0 in the package: free of charge within limits
        ("openai", "omni-moderation-latest"),
        ("openai", "whisper-1"),  # by the hour, not by tokens
        ("openai", "gpt-9000"),
        ("openai", "gpt-4o-of-our-own"),
        ("anthropic", "gpt-4o"),
        ("generic", "gpt-4o"),
        ("vllm", "openai/gpt-oss-120b"),
        ("openai", ""),
    ],
)
def test_what_has_no_known_price_has_none(table: PriceTable, provider: str, model: str) -> None:
    assert table.find(provider, model, None, AT) is None


def test_a_price_holds_from_its_day(table: PriceTable) -> None:
    """o3 cost 10 and 40 until OpenAI lowered it on 2025-06-10."""
    before = table.find("openai", "o3", None, datetime(2025, 6, 9, 23, 59, tzinfo=UTC))
    after = table.find("openai", "o3", None, datetime(2025, 6, 10, tzinfo=UTC))
    assert before is not None
    assert after is not None
    assert (before.input, before.output) == (10.0, 40.0)
    assert (after.input, after.output) == (2.0, 8.0)


def test_a_service_tier_without_prices_makes_the_cost_an_estimate(table: PriceTable) -> None:
    billed = cost(priced(table, "openai", "gpt-5", "scale"), CHAT)
    assert billed.provenance is Provenance.ESTIMATED
    assert billed.usd == pytest.approx(0.01148)


def test_a_zero_in_the_package_is_a_gap_and_no_gift() -> None:
    """Made with the package's own types, since its data has none for these providers now."""
    from genai_prices import data_snapshot
    from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice, Provider

    def model(name: str, **rates: str) -> ModelInfo:
        prices = ModelPrice(**{key: Decimal(rate) for key, rate in rates.items()})
        return ModelInfo(id=name, match=ClauseEquals(equals=name), prices=prices)

    models = [
        model("gift", input_mtok="0", output_mtok="0"),
        model("half", input_mtok="1", output_mtok="0", cache_read_mtok="0"),
    ]
    provider = Provider(id="openai", name="OpenAI", api_pattern="x", models=models)
    data_snapshot.set_custom_snapshot(
        data_snapshot.DataSnapshot(providers=[provider], from_auto_update=False)
    )
    try:
        zeros = PriceTable()
    finally:
        data_snapshot.set_custom_snapshot(None)
    assert zeros.find("openai", "gift", None, AT) is None
    half = priced(zeros, "openai", "half")
    assert (half.input, half.cached_input, half.output) == (1.0, None, None)
    assert cost(half, CHAT).provenance is Provenance.UNKNOWN


def test_every_price_of_the_package_is_a_price(table: PriceTable) -> None:
    """Every model of the three providers: what is there is above 0 and below 10,000 USD."""
    from genai_prices.data import providers

    seen = 0
    for provider in providers:
        for model in provider.models if provider.id in ("openai", "anthropic", "google") else ():
            price = table.find(provider.id, model.id, None, AT)
            for each in [price, *(higher for _, higher in price.above)] if price else ():
                assert each is not None
                rates = (each.input, each.cached_input, each.cache_write, each.output)
                assert all(rate is None or 0 < rate < 10_000 for rate in rates), model.id
                seen += 1
    assert seen > 100
