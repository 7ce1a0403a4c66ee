"""Buckets in a real Valkey server: what is told twice counts once."""

from __future__ import annotations

import pytest

from nexus_proxy.admission.shared import Draw, SharedBuckets
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


async def test_what_was_told_counts_once_whether_the_answer_came_or_not() -> None:
    valkey = Valkey()
    store = SharedStore(valkey.url)
    await store.open()
    try:
        one, other = SharedBuckets(store), SharedBuckets(store)
        await one.take(draw(500))
        await other.take(draw(400))
        one.correct("ci", "tokens", -200 / SECOND)
        valkey.freeze()
        with pytest.raises(StoreUnavailableError):
            await used(one)
        valkey.thaw()  # and the server does what it was asked before
        await store.run(HELLO, (), (), trying=True)
        assert await used(one) == pytest.approx(700, abs=50)
        valkey.ask("DEL", *valkey.ask("KEYS", "*:tokens:*"))  # nor if it forgot what it was told
        assert await used(one) == pytest.approx(700, abs=50)
        other.correct("ci", "tokens", 100 / SECOND)
        assert await used(other) == pytest.approx(800, abs=50)
    finally:
        await store.close()
        valkey.stop()
