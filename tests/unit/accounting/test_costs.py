"""Costs and estimates for any price and any usage."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nexus_proxy.accounting.prices import (
    FREE,
    LEAST_ASSUMED_TOKENS,
    MOST_ASSUMED_TOKENS,
    UNKNOWN,
    UNSAID_OUTPUT_TOKENS,
    AnswerLengths,
    Price,
    Unpriced,
    cost,
    estimate,
)
from nexus_proxy.accounting.usage import (
    Provenance,
    TokenUsage,
    counted_inside,
)
from nexus_proxy.dialects.claude_usage import Counted
from nexus_proxy.dialects.openai_stream import MOST_TOKENS

RATES = st.floats(0, 10_000)
SET = st.none() | RATES
TOKENS = st.integers(0, 2_000_000)
TOLD = st.none() | st.integers(-5, 2_000_000) | st.sampled_from([-(10**400), 2**63, 10**400])


@st.composite
def flat_prices(draw: st.DrawFn) -> Price:
    keys = ("input", "cached_input", "cache_write", "cache_write_1h", "output", "reasoning")
    rates: dict[str, Any] = {key: draw(SET) for key in keys}
    return Price(origin="test", **rates, exact=draw(st.booleans()))


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """With a tier in which everything that has a price costs at least as much."""
    base, factor = draw(flat_prices()), draw(st.floats(1, 3))
    rates: dict[str, Any] = {
        key: value * factor
        for key, value in structs.asdict(base).items()
        if isinstance(value, float)
    }
    tier = (draw(st.integers(0, 300_000)), structs.replace(base, **rates))
    return structs.replace(base, above=draw(st.sampled_from([(), (tier,)])))


USAGES = st.builds(
    counted_inside,
    TOLD,
    TOLD,
    total=TOLD,
    cached=TOLD,
    cache_write=TOLD,
    cache_write_1h=TOLD,
    reasoning=TOLD,
    audio=TOLD,
)
PRICED: st.SearchStrategy[Price | Unpriced] = prices() | st.sampled_from(Unpriced)


@given(PRICED, st.none() | USAGES)
def test_a_cost_has_a_figure_exactly_where_it_is_known(
    price: Price | Unpriced, usage: TokenUsage | None
) -> None:
    billed = cost(price, usage)
    known = billed.provenance in (Provenance.MEASURED, Provenance.ESTIMATED)
    assert known == (billed.usd is not None)
    if isinstance(price, Unpriced):
        assert billed == (FREE if price is Unpriced.FREE else UNKNOWN)
    elif billed.usd is not None:
        assert 0 <= billed.usd < float("inf")


@given(PRICED, USAGES)
def test_what_is_unknown_never_becomes_nothing(price: Price | Unpriced, usage: TokenUsage) -> None:
    """0 only for no tokens, or at a price that says 0."""
    if cost(price, usage).usd == 0:
        assert isinstance(price, Price)
        rate = price.at(usage.prompt or 0)
        rates = (rate.input, rate.cached_input, rate.cache_write, rate.cache_write_1h)
        tiny = any(value is not None and value < 1e-290 for value in (*rates, rate.output))
        assert not usage.prompt or 0 in rates or tiny
        assert not usage.completion or 0 in (rate.output, rate.reasoning) or tiny


@given(prices(), USAGES, st.integers(0, 100_000), st.sampled_from(["prompt", "completion"]))
def test_more_tokens_never_cost_less(
    price: Price, usage: TokenUsage, more: int, where: str
) -> None:
    longer = structs.replace(usage, **{where: (getattr(usage, where) or 0) + more})
    less, greater = cost(price, usage).usd, cost(price, longer).usd
    if less is not None and greater is not None:
        assert greater >= less * (1 - 1e-12)


@given(prices(), TOKENS, st.integers(0, 100_000), st.integers(0, 100_000), st.integers(1, 8))
def test_an_estimate_grows_with_each_part(
    price: Price, prompt: int, output: int, more: int, choices: int
) -> None:
    base = estimate(price, prompt, output, choices=choices)
    if base.usd is None:
        assert base == UNKNOWN
        assert price.at(prompt).input is None
        return
    assert base.provenance is Provenance.ESTIMATED
    for longer in (
        estimate(price, prompt + more, output, choices=choices),
        estimate(price, prompt, output + more, choices=choices),
        estimate(price, prompt, output, choices=choices + 1),
    ):
        assert longer.usd is not None
        assert longer.usd >= base.usd * (1 - 1e-12)


@given(
    st.floats(0.01, 100),
    st.floats(0, 1),
    st.floats(1, 1.25),
    st.floats(1, 8),
    TOKENS,
    TOKENS,
    st.data(),
)
def test_an_estimate_with_a_maximum_is_never_below_the_cost(
    rate: float, cached: float, written: float, output: float, prompt: int, most: int, data: Any
) -> None:
    """At any price where the cache saves on reading and takes more for writing for minutes."""
    price = Price(
        origin="test",
        input=rate,
        cached_input=rate * cached,
        cache_write=rate * written,
        output=rate * output,
    )
    hits = data.draw(st.integers(0, prompt))
    usage = counted_inside(
        prompt,
        data.draw(st.integers(0, most)),
        cached=hits,
        cache_write=data.draw(st.integers(0, prompt - hits)),
    )
    reserved, billed = estimate(price, prompt, most).usd, cost(price, usage).usd
    assert reserved is not None
    assert billed is not None
    assert reserved >= billed * (1 - 1e-12)


PLAIN = Price(origin="test", input=1.0, output=2.0)


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (counted_inside(100, 10), structs.replace(PLAIN, exact=False)),
        (counted_inside(100, 10, cached=1), PLAIN),
        (counted_inside(100, 10, cache_write=1), PLAIN),
        (counted_inside(100, 10, audio=1), PLAIN),
        (TokenUsage(prompt=100, completion=10, source=Provenance.ESTIMATED), PLAIN),
    ],
)
def test_a_cost_says_where_it_had_to_guess(usage: TokenUsage, price: Price) -> None:
    billed = cost(price, usage)
    assert billed.usd == pytest.approx(0.00012)
    assert billed.provenance is Provenance.ESTIMATED


@pytest.mark.parametrize(
    "usage", [None, TokenUsage(), TokenUsage(prompt=5), TokenUsage(completion=5)]
)
def test_half_a_usage_has_no_cost(usage: TokenUsage | None) -> None:
    assert cost(PLAIN, usage) == UNKNOWN


def test_reasoning_is_output_unless_it_has_a_price_of_its_own() -> None:
    usage = counted_inside(0, 1_000_000, reasoning=400_000)
    assert cost(PLAIN, usage).usd == pytest.approx(2.0)
    assert cost(structs.replace(PLAIN, reasoning=3.0), usage).usd == pytest.approx(2.4)


def test_without_a_maximum_the_output_is_assumed() -> None:
    assert estimate(PLAIN, 0, None).usd == pytest.approx(UNSAID_OUTPUT_TOKENS * 2e-6)
    assert estimate(PLAIN, 0, None, assumed_output=100).usd == pytest.approx(0.0002)


@given(st.lists(st.integers(0, 10_000_000), min_size=1))
def test_what_is_assumed_has_bounds(answers: list[int]) -> None:
    lengths = AnswerLengths()
    for tokens in answers:
        lengths.note("openai", "gpt-5", tokens)
    assert LEAST_ASSUMED_TOKENS <= lengths.assume("openai", "gpt-5") <= MOST_ASSUMED_TOKENS
    assert lengths.assume("openai", "other") == UNSAID_OUTPUT_TOKENS


def test_what_is_assumed_covers_most_of_what_was_seen() -> None:
    lengths = AnswerLengths()
    answers = [300, 900, 450, 700, 1_200, 500, 650, 380, 1_000, 820] * 10
    short = 0
    for tokens in answers:
        short += lengths.assume("openai", "gpt-5") < tokens
        lengths.note("openai", "gpt-5", tokens)
    assert short <= len(answers) // 20
    assert lengths.assume("openai", "gpt-5") < 2 * max(answers)


def test_models_that_come_and_go_do_not_pile_up() -> None:
    lengths = AnswerLengths()
    for number in range(5_000):
        lengths.note("openai", f"m{number}", 2_000)
    assert lengths.assume("openai", "m0") == UNSAID_OUTPUT_TOKENS
    assert lengths.assume("openai", "m4999") != UNSAID_OUTPUT_TOKENS


@given(USAGES)
def test_the_parts_of_a_usage_fit_into_it(usage: TokenUsage) -> None:
    for count in (usage.prompt, usage.completion, usage.audio):
        assert count is None or 0 <= count <= 3 * MOST_TOKENS
    assert min(usage.cached, usage.cache_write, usage.cache_write_1h, usage.reasoning) >= 0
    if usage.prompt is not None:
        assert usage.cached + usage.cache_write + usage.cache_write_1h <= usage.prompt
    if usage.completion is not None:
        assert usage.reasoning <= usage.completion


def test_both_ways_of_counting_come_to_the_same() -> None:
    told = Counted(
        input_tokens=100,
        output_tokens=70,
        cache_read_input_tokens=900,
        cache_creation_input_tokens=50,
    ).usage()
    assert told is not None
    assert (told.prompt_tokens, told.completion_tokens, told.cached_tokens) == (1_050, 70, 900)
    assert told.prompt_tokens_details is not None
    assert told.prompt_tokens_details.cache_write_tokens == 50
