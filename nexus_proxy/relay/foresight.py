"""Dry runs: what would happen to a request, of which nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

import msgspec

from nexus_proxy.errors import UnknownModelError
from nexus_proxy.relay.relay import Relay
from nexus_proxy.routing.pipeline import plan
from nexus_proxy.routing.preview import preview
from nexus_proxy.routing.types import Catalogue, RequestFacts
from nexus_proxy.state import DecisionView, Preview

MOST_MODELS = 200
"""At a time: more than fit on a screen."""


def dry_run(facts: RequestFacts, catalogue: Catalogue, relay: Relay) -> list[DecisionView]:
    """What would happen to such a request: one record per model of the plan.

    Raises `UnknownModelError`.
    """
    facts = msgspec.structs.replace(facts, purse=relay.till.purse_for_nobody())
    views = []
    for decision in plan(facts, catalogue, relay.rules):
        first = decision.candidates[0] if decision.candidates else None
        views.append(decision.view(decision.route_reason(first, 0) if first else None))
    return views


async def previews(models: Sequence[str], catalogue: Catalogue, relay: Relay) -> dict[str, Preview]:
    """Who would serve each of the models now, for a screen that looks again and again; those that
    nobody lists are left out. Lets requests go first after each of them: with hundreds of backends,
    one takes about a millisecond."""
    found = {}
    purse = relay.till.purse_for_nobody()
    for model in models[:MOST_MODELS]:
        facts = RequestFacts(model_asked=model, purse=purse, now=time.monotonic())
        with contextlib.suppress(UnknownModelError):
            found[model] = preview(plan(facts, catalogue, relay.rules))
        await asyncio.sleep(0)
    return found
