"""What a request costs: estimated for routing, put aside before it is sent, booked after.

Most requests cost nothing and come here once, to learn that. What audio, images, rerank and
moderations cost is not known before: they are charged by the second, the picture or the search, or
by tokens with prices of their own. Where the answer counts tokens it is an estimate after, else it
stays unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from nexus_proxy.accounting.entries import Entry, Settlement
from nexus_proxy.accounting.ledger import Ledger
from nexus_proxy.accounting.price_book import PriceBook
from nexus_proxy.accounting.prices import (
    FREE,
    UNKNOWN,
    AnswerLengths,
    Cost,
    Price,
    Unpriced,
    cost,
    estimate,
)
from nexus_proxy.accounting.tokens import Count, TokenCounter
from nexus_proxy.accounting.usage import Provenance, TokenUsage, counted_inside
from nexus_proxy.config.model import PriceConfig, Zone
from nexus_proxy.dialects.openai_stream import Usage
from nexus_proxy.registry import Backend
from nexus_proxy.relay.call import Call
from nexus_proxy.routing.types import Candidate, Purse
from nexus_proxy.state import BudgetLevel, ModelInfo, RequestPhase
from nexus_proxy.store.schema import NANO
from nexus_proxy.tasks import spawn

GUESSED_TIER = "the cost is estimated: what its service tier costs is not known"


class Billing:
    """Knows the prices, and puts what is spent into the ledger.

    Attributes:
        is_ready: False while prices are needed and not there yet; await `ready` then.
    """

    def __init__(self, ledger: Ledger, prices: PriceBook) -> None:
        self._ledger, self._prices = ledger, prices
        self._counter, self._lengths = TokenCounter(), AnswerLengths()
        self._overridden = False
        self.is_ready = True

    def expect_cost(self) -> None:
        """A backend that may cost money is listed: get the prices, unless they are there."""
        if not self._prices.loaded:
            self.is_ready = False
            spawn(self.ready(), name="prices")

    async def ready(self) -> None:
        """Return when the prices, and the tokenizer if one is installed, are there or are known
        not to come."""
        await self._prices.ready()
        if not self.is_ready:
            await asyncio.to_thread(self._counter.load)
        self.is_ready = True

    def apply(self, overrides: Sequence[PriceConfig]) -> None:
        """Take over a changed configuration."""
        self._prices.configure(overrides)
        self._overridden = bool(overrides)

    def purse(self, call: Call, *, has_limits: bool) -> Purse | None:
        """What the request may spend, for routing; None where money is no question."""
        wishes, standing = call.envelope.wishes, self._ledger.standing
        most = None if wishes is None else wishes.max_usd
        if most is None and not has_limits and standing.level is BudgetLevel.OK:
            return None
        return Purse(standing, most, lambda candidate: self._estimate_usd(call, candidate))

    def purse_for_nobody(self) -> Purse | None:
        """The same for a request that is never sent, and as short as can be."""
        standing = self._ledger.standing
        if standing.level is BudgetLevel.OK:
            return None
        return Purse(standing, None, self._least_usd)

    def price(self, backend: Backend, model: ModelInfo, served_id: str) -> Price | Unpriced:
        """The price of a model at a backend."""
        # A key to somewhere out there is one that somebody pays for.
        is_paid = backend.api_key_env is not None and backend.zone is Zone.OPEN
        may_cost = backend.traits.is_cloud or model.remote or is_paid
        if not may_cost and not self._overridden:
            return Unpriced.FREE
        name, type_ = backend.name, backend.type.value
        return self._prices.price(name, type_, served_id, may_cost=may_cost)

    async def open(self, call: Call, backend: Backend, price: Price | Unpriced) -> Bill:
        """Put money aside for one attempt. Raises `BudgetExceededError`."""
        record, key = call.record, call.envelope.key
        model = record.model or ""
        price = self._in_tier(call.peek.service_tier, backend, model, price)
        expected = self._estimate(call, backend, model, price)
        entry = await self._ledger.reserve(
            request_id=record.id,
            backend=backend.name,
            model=model,
            model_asked=record.model_asked,
            nanousd=_nano(expected),
            key="" if key is None else key.name,
            key_limit_usd=None if key is None else key.monthly_limit_usd,
        )
        record.priced = True
        return Bill(self, call, backend, price, entry, expected)

    def release(self, entry: Entry) -> None:
        """Give back what was put aside."""
        self._ledger.release(entry)

    def book(self, bill: Bill, usage: TokenUsage, *, interrupted: bool) -> None:
        """Book what an attempt used."""
        record = bill.call.record
        price = bill.price
        if (told := bill.call.usage) is not None and told.service_tier is not None:
            price = self._in_tier(told.service_tier, bill.backend, bill.entry.model, price)
        if not (isinstance(price, Unpriced) or price.exact):
            record.notes = (*record.notes, GUESSED_TIER)
        came_to = cost(price, usage)
        record.cost_usd, record.cost_source = came_to.usd, came_to.provenance.value
        if record.prompt_tokens is None and usage.prompt is not None:
            # So that history and metrics have the tokens that are paid for.
            record.prompt_tokens, record.usage_source = usage.prompt, usage.source.value
        if not interrupted and usage.completion is not None:
            self._lengths.note(bill.backend.type.value, bill.entry.model, usage.completion)
        self._ledger.settle(
            bill.entry,
            Settlement(
                nanousd=_nano(came_to),
                provenance=came_to.provenance.value,
                usage=usage,
                state="interrupted" if interrupted else "settled",
            ),
        )

    def prompt_tokens(self, call: Call, model: str) -> int:
        """The prompt's length, estimated, for a backend that did not count."""
        return self.count(call.body, model, call.peek.prompt_bytes).tokens

    def count(self, body: bytes, model: str, prompt_bytes: int) -> Count:
        """Tokens of a prompt; see `TokenCounter.count_body`."""
        return self._counter.count_body(body, model, prompt_bytes)

    def _in_tier(
        self, tier: str | None, backend: Backend, model: str, price: Price | Unpriced
    ) -> Price | Unpriced:
        """The price in a service tier (OpenAI's `flex`, `priority`); that tier is asked for before,
        and told with the answer after."""
        if tier is None or isinstance(price, Unpriced):
            return price
        name, type_ = backend.name, backend.type.value
        return self._prices.price(name, type_, model, may_cost=True, service_tier=tier)

    def _least_usd(self, candidate: Candidate) -> float | None:
        backend = candidate.backend
        assert isinstance(backend, Backend), "the registry's candidates are its own"
        price = self.price(backend, candidate.model, candidate.served_id)
        if isinstance(price, Unpriced):
            return 0.0 if price is Unpriced.FREE else None
        return 1 / NANO

    def _estimate_usd(self, call: Call, candidate: Candidate) -> float | None:
        backend = candidate.backend
        assert isinstance(backend, Backend), "the registry's candidates are its own"
        price = self.price(backend, candidate.model, candidate.served_id)
        if price is Unpriced.FREE:
            return 0.0
        price = self._in_tier(call.peek.service_tier, backend, candidate.served_id, price)
        return self._estimate(call, backend, candidate.served_id, price).usd

    def _estimate(self, call: Call, backend: Backend, model: str, price: Price | Unpriced) -> Cost:
        peek = call.peek
        if peek.route is not None:
            return FREE if price is Unpriced.FREE else UNKNOWN
        if call.most_tokens is None:
            call.most_tokens = self._counter.count_body(call.body, model, peek.prompt_bytes).at_most
        return estimate(
            price,
            call.most_tokens,
            peek.max_tokens,
            assumed_output=self._lengths.assume(backend.type.value, model),
            choices=peek.choices,
        )


class Bill:
    """The money of one attempt at one backend. Use as `with`: whatever ends the block, what was put
    aside is booked or given back.

    Booked is what the backend measured; of an answer that broke off, or whose client left, what
    had been relayed, with the prompt, both estimated; and nothing where the backend failed before
    it sent anything.
    """

    __slots__ = ("backend", "billing", "call", "entry", "estimated", "price")

    def __init__(
        self,
        billing: Billing,
        call: Call,
        backend: Backend,
        price: Price | Unpriced,
        entry: Entry,
        estimated: Cost,
    ) -> None:
        self.billing, self.call, self.backend = billing, call, backend
        self.price, self.entry, self.estimated = price, entry, estimated

    def __enter__(self) -> Bill:
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        usage = self.call.usage
        if error is None:
            self.billing.book(self, self._used(usage), interrupted=False)
        elif usage is not None or self.call.relayed_tokens or self._was_left(error):
            had_all = self.call.record.phase is RequestPhase.DONE
            self.billing.book(self, self._used(usage), interrupted=not had_all)
        else:
            self.billing.release(self.entry)

    def _was_left(self, error: BaseException) -> bool:
        """Whether the client left after the request had been sent."""
        was_sent = self.call.record.attempts[-1].connect_ms is not None
        return was_sent and not isinstance(error, Exception)

    def _used(self, usage: Usage | None) -> TokenUsage:
        if self.call.peek.route is not None:
            told = usage or Usage()
            return TokenUsage(
                prompt=told.prompt_tokens,
                completion=told.completion_tokens,
                source=Provenance.ESTIMATED,
            )
        if usage is not None:
            details = usage.prompt_tokens_details
            return counted_inside(
                usage.prompt_tokens,
                usage.completion_tokens,
                total=usage.total_tokens,
                cached=usage.cached_tokens,
                cache_write=None if details is None else details.cache_write_tokens,
                cache_write_1h=None if details is None else details.cache_write_1h_tokens,
                reasoning=usage.reasoning_tokens,
                audio=usage.audio_tokens,
            )
        return TokenUsage(
            prompt=self.billing.prompt_tokens(self.call, self.entry.model),
            completion=self.call.relayed_tokens,
            source=Provenance.ESTIMATED,
        )


def _nano(figure: Cost) -> int | None:
    return None if figure.usd is None else round(figure.usd * NANO)
