"""Asking a host, on a second connection, whether it is still there."""

from __future__ import annotations

import asyncio

from nexus_proxy.errors import UpstreamError
from nexus_proxy.relay.connections.upstream import Exchange, Pool

ANSWER_WITHIN = 2.0
"""Seconds. A host that is alive accepts a connection at once, however busy its GPU is."""


async def host_answers(pool: Pool, path: str | None) -> bool:
    """Whether the backend's host shows life: any HTTP answer to `GET path`, or, where `path` is
    None (the backend is not known to answer while it generates), a connection."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            if path is None:
                (await pool.connect(ANSWER_WITHIN)).abort()
                return True
            request = f"GET {path} HTTP/1.1\r\nhost: {pool.authority}\r\nconnection: close\r\n\r\n"
            async with Exchange(
                pool, [request.encode()], connect_seconds=ANSWER_WITHIN
            ) as exchange:
                exchange.may_reuse = False
                return await exchange.head() is not None
    except (UpstreamError, TimeoutError):
        return False
