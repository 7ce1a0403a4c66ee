"""Asking a server what it is, before it is listed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from nexus_proxy.backends.fingerprint import IsNexus, NotABackend, fingerprint
from nexus_proxy.config.model import BackendType

if TYPE_CHECKING:
    import httpx

SECONDS = 15.0
"""For all questions together; each has its own, shorter limit."""


class Identity(Struct, frozen=True, kw_only=True):
    """What answers at a URL.

    `forwards`: it is another gateway, which may pass prompts on to anyone. `needs_key`: it is let
    known by its refusal to talk without a key.
    """

    type: BackendType
    url: str
    version: str | None = None
    needs_key: bool = False
    forwards: bool = False

    @property
    def kind(self) -> str:
        """The kind as names and notes spell it."""
        return "nexus" if self.forwards else self.type.value


class ItIsUs(Exception):
    """The gateway found itself."""


async def identify(
    client: httpx.AsyncClient, url: str, *, node_id: str, api_key: str | None = None
) -> Identity:
    """Find out what answers at a normalised URL, with GETs that change nothing.

    Raises `ItIsUs`, or `NotABackend` with the reason in a few words.
    """
    try:
        async with asyncio.timeout(SECONDS):
            seen = await fingerprint(client, url, api_key=api_key)
    except IsNexus as nexus:
        if nexus.node_id == node_id:
            raise ItIsUs from None
        return Identity(type=BackendType.GENERIC, url=url, forwards=True)
    except TimeoutError:
        raise NotABackend("it does not answer in time") from None
    return Identity(
        type=seen.type, url=seen.base_url, version=seen.version, needs_key=seen.needs_key
    )
