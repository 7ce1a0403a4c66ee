"""API keys of clients."""

from __future__ import annotations

from msgspec import Struct

from nexus_proxy.config.model import Zone


class KeyView(Struct, frozen=True, kw_only=True):
    """One API key at one moment; never its secret, nor the hash of it.

    `requests_left` and `tokens_left` are what it may use at once, None where it has no such limit.
    `requests`, `refused` (for a limit) and `tokens` count since the start of the gateway.
    `spent_usd` is of this month; None: unknown. With `watch` its holder sees what an operator sees.
    """

    name: str
    zone: Zone
    priority: str
    models: tuple[str, ...]
    watch: bool
    requests_per_minute: int | None
    requests_left: int | None
    tokens_per_minute: int | None
    tokens_left: int | None
    monthly_limit_usd: float | None
    spent_usd: float | None
    requests: int
    refused: int
    tokens: int
    last_used: float | None
