"""A first look at a backend that is not listed: does it answer, and what does it serve?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import ProbeFailed, Target
from nexus_proxy.discovery.identify import Identity
from nexus_proxy.errors import CommandError
from nexus_proxy.registry import Backend
from nexus_proxy.state import Probe, Sighting

if TYPE_CHECKING:
    import httpx

SECONDS = 5.0
"""For the test; the same as one health check by default."""


async def sighting(
    client: httpx.AsyncClient | None,
    backend: Backend,
    identity: Identity,
    environ: Mapping[str, str],
) -> Sighting:
    """Probe a backend once, read-only. Raises `CommandError`: this gateway is not running."""
    if client is None:
        raise CommandError("this gateway is not running")
    variable = backend.api_key_env
    key = environ.get(variable) if variable else None
    probe, problem, started = None, None, time.perf_counter()
    try:
        async with asyncio.timeout(SECONDS):
            target = Target(base_url=backend.url, api_key=key)
            probe = await adapter_for(backend.type).probe(client, target)
    except ProbeFailed as failure:
        problem = str(failure)
    except TimeoutError:
        problem = f"no answer within {SECONDS:g} s"
    return Sighting(
        url=backend.url,
        name=backend.name,
        kind=identity.kind,
        version=(probe.version if probe else None) or identity.version,
        zone=backend.zone,
        needs_key=identity.needs_key,
        key_variable=variable,
        models=_models(probe),
        probe_ms=(time.perf_counter() - started) * 1000.0 if probe else None,
        problem=problem,
    )


def _models(probe: Probe | None) -> tuple[str, ...]:
    return tuple(model.id for model in (probe.models or ())) if probe else ()
