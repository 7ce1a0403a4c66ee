"""A gateway with API keys over one scripted backend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from nexus_proxy.admission.keys import hash_of, new_secret
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

SECRET, OTHER = new_secret(), new_secret()


def key_table(name: str = "ci", secret: str = SECRET, **more: Any) -> dict[str, Any]:
    """One `[[keys]]` table."""
    return {"name": name, "hash": hash_of(secret), **more}


def bearer(secret: str = SECRET) -> dict[str, str]:
    """Headers that hold a key."""
    return {"authorization": f"Bearer {secret}"}


@asynccontextmanager
async def keyed(
    backend: ScriptedBackend, *keys: dict[str, Any], **tables: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway over `backend`, called `one`, with these keys."""
    entries = [backend_entry("one", backend.url)]
    routing = {"aliases": {"n": "m"}, "max_retries": 0, **tables.pop("routing", {})}
    async with running_gateway(entries, keys=list(keys), routing=routing, **tables) as gateway:
        yield gateway
