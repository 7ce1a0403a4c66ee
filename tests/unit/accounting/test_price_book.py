"""Whose price holds: the operator's, the public one, or none."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from nexus_proxy.accounting import price_book
from nexus_proxy.accounting.price_book import PriceBook
from nexus_proxy.accounting.prices import Price, Unpriced
from nexus_proxy.config.model import BackendType, PriceConfig
from nexus_proxy.tasks import spawn

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()


def entry(model: str = "*", **keys: Any) -> PriceConfig:
    return PriceConfig(model=model, **keys)


async def book(*overrides: PriceConfig) -> PriceBook:
    made = PriceBook(overrides, clock=lambda: NOON)
    await made.ready()
    return made


def known(price: Price | Unpriced) -> Price:
    assert isinstance(price, Price)
    return price


async def test_a_cloud_price_is_unknown_until_the_table_is_there() -> None:
    made = PriceBook(clock=lambda: NOON)
    assert made.price("o", "openai", "gpt-4o", may_cost=True) is Unpriced.UNKNOWN
    assert not made.loaded
    await asyncio.gather(made.ready(), made.ready())
    assert made.loaded
    assert known(made.price("o", BackendType.OPENAI, "gpt-4o", may_cost=True)).input == 2.5


async def test_who_leaves_while_waiting_does_not_stop_the_loading() -> None:
    made = PriceBook(clock=lambda: NOON)
    first = spawn(made.ready(), name="first")
    second = spawn(made.ready(), name="second")
    await asyncio.sleep(0)  # both run until they wait
    first.cancel()
    await second
    assert made.loaded


async def test_what_runs_at_home_is_free_whatever_it_is_called() -> None:
    made = await book()
    assert made.price("gpu", "vllm", "gpt-4o", may_cost=False) is Unpriced.FREE
    assert made.price("gpu", "openai", "gpt-4o", may_cost=False) is Unpriced.FREE


async def test_what_may_cost_and_has_no_price_is_unknown() -> None:
    made = await book()
    assert made.price("groq", "generic", "gpt-4o", may_cost=True) is Unpriced.UNKNOWN
    assert made.price("mac", "ollama", "gpt-oss:120b-cloud", may_cost=True) is Unpriced.UNKNOWN


async def test_the_operator_can_price_anything_even_at_nothing() -> None:
    made = await book(entry("llama*", input_usd_per_million=0.0, output_usd_per_million=0.5))
    for may_cost in (False, True):
        price = known(made.price("gpu", "vllm", "llama3", may_cost=may_cost))
        assert (price.input, price.output, price.cached_input) == (0.0, 0.5, None)
        assert price.origin == "prices[0] of the configuration"
    assert made.price("gpu", "vllm", "qwen3", may_cost=False) is Unpriced.FREE


async def test_what_the_operator_leaves_out_is_as_public_at_every_length() -> None:
    made = await book(entry("gpt-5.4", output_usd_per_million=9.0))
    price = known(made.price("o", "openai", "gpt-5.4", may_cost=True))
    assert (price.input, price.cached_input, price.output) == (2.5, 0.25, 9.0)
    assert (price.at(300_000).input, price.at(300_000).output) == (5.0, 9.0)
    assert price.origin.startswith("prices[0] of the configuration, else genai-prices ")


async def test_the_first_entry_that_matches_model_and_backend_holds() -> None:
    made = await book(
        entry("gpt-*", backend="azure", input_usd_per_million=1.0),
        entry("gpt-4o", input_usd_per_million=2.0),
        entry("gpt-*", input_usd_per_million=3.0),
    )

    def paid(backend: str, model: str) -> float | None:
        return known(made.price(backend, "openai", model, may_cost=True)).input

    assert paid("azure", "gpt-4o") == 1.0
    assert paid("openai", "gpt-4o") == 2.0
    assert paid("openai", "gpt-4.1") == 3.0
    assert paid("openai", "o3") == 2.0  # the public price


async def test_a_reload_takes_effect_at_once() -> None:
    made = await book()
    assert known(made.price("o", "openai", "gpt-4o", may_cost=True)).input == 2.5
    made.configure([entry(input_usd_per_million=7.0)])
    assert known(made.price("o", "openai", "gpt-4o", may_cost=True)).input == 7.0
    made.configure([])
    assert known(made.price("o", "openai", "gpt-4o", may_cost=True)).input == 2.5


async def test_a_price_that_changes_overnight_is_seen() -> None:
    now = datetime(2025, 6, 9, 23, 59, tzinfo=UTC).timestamp()
    made = PriceBook(clock=lambda: now)
    await made.ready()
    assert known(made.price("o", "openai", "o3", may_cost=True)).input == 10.0
    now += 120
    assert known(made.price("o", "openai", "o3", may_cost=True)).input == 2.0


async def test_any_number_of_names_is_remembered_within_bounds() -> None:
    made = await book()
    for number in range(5_000):
        made.price("gpu", "vllm", f"m{number}", may_cost=False)
    assert len(made._known) <= 4_096


async def test_a_broken_package_costs_the_prices_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`None` in `sys.modules` makes an import fail as a missing package does."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    made = await book(entry("gpt-5", input_usd_per_million=1.0))
    assert made.loaded
    assert made.problem is not None
    assert "genai-prices" in made.problem
    assert made.price("o", "openai", "gpt-4o", may_cost=True) is Unpriced.UNKNOWN
    assert known(made.price("o", "openai", "gpt-5", may_cost=True)).input == 1.0


def test_the_package_is_not_imported_before_it_is_wanted() -> None:
    code = (
        f"import sys, {price_book.__name__}, nexus_proxy.accounting.tokens as t; "
        "print({'genai_prices', 'pydantic', 'httpx2', 'toktok'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
