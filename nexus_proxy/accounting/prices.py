"""What tokens cost: a price per backend and model, and the cost of a usage at that price.

USD everywhere, prices per million tokens. Floats, since a cost is a sum of a few products and far
from the 15 digits that they keep; who adds up many costs should round each one first.

A price that is not known is `Unpriced.UNKNOWN` and its cost None, never 0. Backends on one's own
machines are `Unpriced.FREE` unless the operator has put a price on them.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from nexus_proxy.accounting.usage import Provenance, TokenUsage

MILLION = 1_000_000
UNSAID_OUTPUT_TOKENS = 4_096
"""Assumed of a request without a maximum, to a model of which no answer has been seen yet."""
MOST_ASSUMED_TOKENS = 32_768
LEAST_ASSUMED_TOKENS = 256


class Price(Struct, frozen=True, kw_only=True):
    """USD per million tokens. None: the provider states none.

    Attributes:
        origin: where it is from, in words: `genai-prices 0.2.3`, `prices[0] of the configuration`.
        input: what is read and not cached.
        cached_input: read from the cache. None: as `input`.
        cache_write: written to the cache for minutes. None: as `input`.
        cache_write_1h: written for an hour. None: as `cache_write`.
        output: what is generated. None: the model generates nothing (embeddings).
        reasoning: generated but not said. None: as `output`, as all the big providers bill it.
        exact: False if the real price may differ (a service tier without known prices).
        above: (tokens, the price of the whole request if its prompt has more than that), rising.
    """

    origin: str
    input: float | None = None
    cached_input: float | None = None
    cache_write: float | None = None
    cache_write_1h: float | None = None
    output: float | None = None
    reasoning: float | None = None
    exact: bool = True
    above: tuple[tuple[int, Price], ...] = ()

    def at(self, prompt_tokens: int) -> Price:
        """The price for a prompt of this length, cached tokens included."""
        price = self
        for tokens, higher in self.above:
            if prompt_tokens > tokens:
                price = higher
        return price


class Unpriced(Enum):
    """Why there is no price."""

    FREE = "n/a"
    UNKNOWN = "unknown"


class Cost(Struct, frozen=True):
    """USD, and how far to trust it. `usd` is None if and only if there is nothing to say: the cost
    is unknown, or the backend is not priced at all (`n/a`)."""

    usd: float | None
    provenance: Provenance


UNKNOWN = Cost(None, Provenance.UNKNOWN)
FREE = Cost(None, Provenance.FREE)


def cost(price: Price | Unpriced, usage: TokenUsage | None) -> Cost:
    """What a usage costs.

    It is `estimated` where the usage is, where the price is not exact, where tokens were cached
    that have no price of their own (they are then billed as input), and where audio is among them.
    """
    if price is Unpriced.FREE:
        return FREE
    if isinstance(price, Unpriced) or usage is None or usage.prompt is None:
        return UNKNOWN
    rate = price.at(usage.prompt)
    generated = usage.completion
    if generated is None:
        if rate.output is not None or rate.input is None:
            return UNKNOWN
        generated = 0
    if (usage.prompt and rate.input is None) or (generated and rate.output is None):
        return UNKNOWN
    guessed = (
        usage.source is not Provenance.MEASURED
        or not rate.exact
        or usage.audio > 0
        or (usage.cached > 0 and rate.cached_input is None)
        or (usage.cache_write > 0 and rate.cache_write is None)
        or (usage.cache_write_1h > 0 and rate.cache_write_1h is None)
    )
    return Cost(
        _sum(rate, usage, generated), Provenance.ESTIMATED if guessed else Provenance.MEASURED
    )


def _sum(rate: Price, usage: TokenUsage, generated: int) -> float:
    """USD. Rates that were needed are known by now."""
    fresh_rate, said_rate = rate.input or 0.0, rate.output or 0.0
    write_rate = _either(rate.cache_write, fresh_rate)
    fresh = (usage.prompt or 0) - usage.cached - usage.cache_write - usage.cache_write_1h
    return (
        max(fresh, 0) * fresh_rate
        + usage.cached * _either(rate.cached_input, fresh_rate)
        + usage.cache_write * write_rate
        + usage.cache_write_1h * _either(rate.cache_write_1h, write_rate)
        + max(generated - usage.reasoning, 0) * said_rate
        + usage.reasoning * _either(rate.reasoning, said_rate)
    ) / MILLION


def _either(rate: float | None, otherwise: float) -> float:
    return otherwise if rate is None else rate


def estimate(
    price: Price | Unpriced,
    prompt_tokens: int,
    max_output_tokens: int | None,
    *,
    assumed_output: int = UNSAID_OUTPUT_TOKENS,
    choices: int = 1,
) -> Cost:
    """What to reserve before a request is sent: on the high side, settled by its usage after.

    The whole prompt counts as not cached, and as written to the cache where that costs more. The
    output is as long as the client allows; where it allows any length, `assumed_output` tokens
    (see `AnswerLengths`). `choices` multiplies the output (`n`). An answer that runs longer than
    was assumed costs more than was reserved; the difference is booked when it settles.
    """
    if price is Unpriced.FREE:
        return FREE
    if isinstance(price, Unpriced):
        return UNKNOWN
    rate = price.at(prompt_tokens)
    if rate.input is None:
        return UNKNOWN
    output = assumed_output if max_output_tokens is None else max(max_output_tokens, 0)
    said_rate = max(rate.output or 0.0, rate.reasoning or 0.0)
    usd = prompt_tokens * max(rate.input, rate.cache_write or 0.0) + output * choices * said_rate
    return Cost(usd / MILLION, Provenance.ESTIMATED)


class AnswerLengths:
    """How long the answers of each model are, to reserve for those without a maximum.

    Mean and mean deviation are smoothed as TCP does round-trip times (RFC 6298: 1/8, 1/4), and
    what is assumed is the mean plus four deviations, from 256 to 32,768 tokens. Bounded: past
    1,024 models the oldest is forgotten.
    """

    _MOST = 1_024

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, float]] = {}

    def note(self, backend_type: str, model: str, completion_tokens: int) -> None:
        """Learn from one finished answer."""
        key = (backend_type, model)
        before = self._seen.get(key)
        if before is None:
            if len(self._seen) >= self._MOST:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = (float(completion_tokens), completion_tokens / 2)
            return
        mean, deviation = before
        deviation += (abs(completion_tokens - mean) - deviation) / 4
        self._seen[key] = (mean + (completion_tokens - mean) / 8, deviation)

    def assume(self, backend_type: str, model: str) -> int:
        """Tokens to reserve for an answer of unsaid length."""
        seen = self._seen.get((backend_type, model))
        if seen is None:
            return UNSAID_OUTPUT_TOKENS
        mean, deviation = seen
        return int(min(max(mean + 4 * deviation, LEAST_ASSUMED_TOKENS), MOST_ASSUMED_TOKENS))
