"""Who would serve models now: dry runs for a screen that looks again and again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence

from nexus_proxy.errors import UnknownModelError
from nexus_proxy.relay.attempts import Relay
from nexus_proxy.routing.pipeline import plan
from nexus_proxy.routing.preview import preview
from nexus_proxy.routing.types import Catalogue, RequestFacts
from nexus_proxy.state import Preview

MOST_MODELS = 200
"""At a time: more than fit on a screen."""


async def previews(models: Sequence[str], catalogue: Catalogue, relay: Relay) -> dict[str, Preview]:
    """By model; those that nobody lists are left out. Lets requests go first after each of them:
    with hundreds of backends, one takes about a millisecond."""
    found = {}
    purse = relay.till.purse_for_nobody()
    for model in models[:MOST_MODELS]:
        facts = RequestFacts(model_asked=model, purse=purse, now=time.monotonic())
        with contextlib.suppress(UnknownModelError):
            found[model] = preview(plan(facts, catalogue, relay.rules))
        await asyncio.sleep(0)
    return found
