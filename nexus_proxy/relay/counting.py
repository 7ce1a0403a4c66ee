"""Asking a backend how long a prompt in Messages is: the one that would be asked for the answer, if
it speaks that dialect itself. The prompt goes no other way than the request would."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Struct

from nexus_proxy.admission.keys import Key
from nexus_proxy.dialects.claude import VERSION
from nexus_proxy.dialects.claude_thinking import without_unsigned
from nexus_proxy.dialects.edit import edit
from nexus_proxy.dialects.openai import UNREADABLE, Endpoint
from nexus_proxy.errors import AirplaneError, UnknownModelError, UpstreamError
from nexus_proxy.registry import Backend
from nexus_proxy.relay.headers import Headers, anthropics, fixed_lines
from nexus_proxy.relay.relay import Relay
from nexus_proxy.relay.upstream import Exchange
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.routing.pipeline import plan
from nexus_proxy.routing.types import Candidate, RequestFacts

SECONDS = 15.0
"""For the whole question: clients ask before they send, and an estimate is better than waiting."""
LONGEST = 64 * 1024
"""Bytes of an answer."""


class _Answer(Struct):
    input_tokens: int


_decode = msgspec.json.Decoder(_Answer).decode


async def counted_by_backend(
    relay: Relay, facts: RequestFacts, body: bytes, headers: Headers, key: Key | None
) -> int | None:
    """Tokens of the prompt of `body`; None where nobody can tell. `key` is the caller's API key.
    Raises `ModelNotAllowedError`."""
    candidate = _first(relay, facts, key)
    if candidate is None or not isinstance(backend := candidate.backend, Backend):
        return None
    path = relay.attempts.lines.to(backend).native_path(Endpoint.MESSAGES, body)
    if path is None:
        return None
    body = edit(without_unsigned(body)[0], {"model": candidate.served_id})
    try:
        async with asyncio.timeout(SECONDS):
            if is_away(backend.traits.is_cloud, candidate.zone):
                async with relay.attempts.aloft.flight(backend.name):
                    return await _ask(relay, backend, f"{path}/count_tokens", body, headers)
            return await _ask(relay, backend, f"{path}/count_tokens", body, headers)
    except (UpstreamError, AirplaneError, TimeoutError):
        return None


def _first(relay: Relay, facts: RequestFacts, key: Key | None) -> Candidate | None:
    try:
        for number, decision in enumerate(plan(facts, relay.registry, relay.rules)):
            names = decision.resolution.names
            if key is not None and not number:
                key.require(facts.model_asked, names)
            if decision.candidates and (key is None or key.allows(names)):
                return decision.candidates[0]
    except UnknownModelError:
        pass
    return None


async def _ask(
    relay: Relay, backend: Backend, path: str, body: bytes, headers: Headers
) -> int | None:
    line = relay.attempts.lines.to(backend)
    head = b"%bcontent-length: %d\r\n%b%b\r\n" % (
        fixed_lines(path, line.pool.authority, "application/json"),
        len(body),
        anthropics(headers, VERSION),
        line.auth(relay.attempts.key_of(backend)),
    )
    seconds = line.clocks.connect_seconds
    async with Exchange(line.pool, [head, body], connect_seconds=seconds) as exchange:
        while (answered := await exchange.head()) is None:
            pass
        told = b""
        while not exchange.ended and len(told) < LONGEST:
            told += await exchange.body() or b""
        exchange.may_reuse = exchange.ended
    try:
        return _decode(told).input_tokens if answered.status == 200 else None
    except UNREADABLE:
        return None
