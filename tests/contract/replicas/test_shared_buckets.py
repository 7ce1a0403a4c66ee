"""Buckets in a real Valkey server: what is told twice counts once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from nexus_proxy.admission.keys import Key, hash_of
from nexus_proxy.admission.limits import Limits
from nexus_proxy.admission.shared import Draw, SharedBuckets
from nexus_proxy.config.model import KeyConfig
from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.store.redis import HELLO, SharedStore
from tests.support.valkey import Valkey

LIMIT, SECOND = 1000, 1000 / 60
"""Tokens a minute and a second."""


def draw(amount: int) -> list[Draw]:
    return [Draw("ci", "tokens", LIMIT, amount)]


async def used(buckets: SharedBuckets) -> float:
    """Tokens that are to flow back."""
    (drawn,) = await buckets.take(draw(0))
    return drawn.reset * SECOND


@pytest.fixture
async def valkey() -> AsyncIterator[Valkey]:
    one = Valkey()
    yield one
    one.stop()


@pytest.fixture
async def store(valkey: Valkey) -> AsyncIterator[SharedStore]:
    one = SharedStore(valkey.url)
    await one.open()
    yield one
    await one.close()


@asynccontextmanager
async def away(valkey: Valkey, store: SharedStore) -> AsyncIterator[None]:
    """It answers nobody, and does what it was asked when that is over."""
    valkey.freeze()
    try:
        yield
    finally:
        valkey.thaw()
    await store.run(HELLO, (), (), trying=True)


async def test_what_was_told_counts_once_whether_the_answer_came_or_not(
    valkey: Valkey, store: SharedStore
) -> None:
    one, other = SharedBuckets(store), SharedBuckets(store)
    await one.take(draw(500))
    await other.take(draw(400))
    one.correct("ci", "tokens", -200 / SECOND)
    async with away(valkey, store):
        with pytest.raises(StoreUnavailableError):
            await used(one)
    assert await used(one) == pytest.approx(700, abs=50)
    valkey.ask("DEL", *valkey.ask("KEYS", "*:tokens:*"))  # nor if it forgot what it was told
    assert await used(one) == pytest.approx(700, abs=50)
    other.correct("ci", "tokens", 100 / SECOND)
    assert await used(other) == pytest.approx(800, abs=50)


async def test_what_was_let_in_while_the_store_was_away_gives_back_nothing_there(
    valkey: Valkey, store: SharedStore
) -> None:
    other, key = (
        SharedBuckets(store),
        Key(KeyConfig(name="ci", hash=hash_of("x"), tokens_per_minute=LIMIT)),
    )
    limits = Limits([key], shared=SharedBuckets(store))
    await other.take(draw(900))
    async with away(valkey, store):
        admitted = await limits.admit_everywhere(key, 500)
    limits.settle(key, admitted, 10)
    await limits.tell()
    assert await used(other) == pytest.approx(900, abs=50)
