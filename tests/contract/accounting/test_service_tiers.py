"""OpenAI's service tiers: asked for before, told with the answer, and each with its prices.

`gpt-4o` costs $2.50 and $10 a million, as `priority` $4.25 and $17; for `flex` no price is known.
"""

from __future__ import annotations

import pytest

from tests.contract.accounting.test_spend import COST, KEY, MADE, READ, asked, cloud, paid
from tests.contract.hot.asking import post
from tests.support.gateway import running_gateway
from tests.support.scripted import Answer, ScriptedBackend

__all__ = ["cloud"]
PRIORITY = (READ * 4.25 + MADE * 17) / 1e6


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("wanted", "told", "usd", "source"),
    [
        ("priority", "priority", PRIORITY, "measured"),
        ("priority", "default", COST, "measured"),
        ("auto", "priority", PRIORITY, "measured"),
        ("priority", None, PRIORITY, "measured"),
        ("flex", "flex", COST, "estimated"),
        (5, None, COST, "measured"),
    ],
)
async def test_the_tier_that_served_is_what_is_paid(
    cloud: ScriptedBackend, wanted: object, told: str | None, usd: float, source: str, stream: bool
) -> None:
    cloud.behave(Answer(service_tier=told))
    async with running_gateway([paid(cloud.url)], environ=KEY) as gateway:
        usual = await post(gateway, asked())
        answer = await post(gateway, asked(service_tier=wanted, stream=stream))
        view = gateway.runtime.history.newest(1)[0]
    before, expected = (float(a.headers["x-nexus-cost-estimated"]) for a in (usual, answer))
    assert expected / before == pytest.approx(1.7 if wanted == "priority" else 1.0, rel=0.01)
    assert view.cost_usd == pytest.approx(usd)
    assert view.cost_source == source
    assert ("service tier" in " ".join(view.notes)) is (source == "estimated")
