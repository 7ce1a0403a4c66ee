"""Which replicas run now, and what API keys have used at each.

A replica says so once a second; whoever was silent for `LIFE_SECONDS` is gone, and what it had
counted with it, as it would be after a restart of a gateway that runs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from nexus_proxy.admission.limits import Usage
from nexus_proxy.state import KeyView
from nexus_proxy.store.redis import Script

KEYS = ("nexus:{replicas}",)
LIFE_SECONDS = 15

PRESENT = Script(
    "present",
    """
    local now, others = tonumber(redis.call('TIME')[1]), {}
    redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
    redis.call('EXPIRE', KEYS[1], ARGV[3] * 4)
    local all = redis.call('HGETALL', KEYS[1])
    for i = 1, #all, 2 do
        local at, said = string.match(all[i + 1], '^(%d+) (.*)$')
        if now - tonumber(at) > tonumber(ARGV[3]) then
            redis.call('HDEL', KEYS[1], all[i])
        elseif all[i] ~= ARGV[1] then
            others[#others + 1] = said
        end
    end
    return others
    """,
)


class KeyUsage(Struct, frozen=True, array_like=True):
    """What one API key has used at one process."""

    requests: int
    refused: int
    tokens: int
    last_used: float | None


class Said(Struct, frozen=True):
    """What a process says of itself. Workers of one gateway have the same `node_id`."""

    node_id: str
    keys: dict[str, KeyUsage]


ENCODE = msgspec.json.Encoder()
DECODE = msgspec.json.Decoder(Said)


def said(node_id: str, used: Mapping[str, Usage]) -> Said:
    """What to say where keys have used so much. Those that nobody used are not worth a word."""
    return Said(
        node_id,
        {
            name: KeyUsage(one.requests, one.refused, one.tokens, one.last_used)
            for name, one in used.items()
            if one.requests or one.refused
        },
    )


def of_others(heard: Iterable[Said], node_id: str) -> list[Said]:
    """What processes of other gateways said. Workers of this one are asked by each other."""
    return [one for one in heard if one.node_id != node_id]


def added(view: KeyView, elsewhere: Iterable[Mapping[str, KeyUsage]]) -> KeyView:
    """The view, with what was used elsewhere."""
    found = [keys[view.name] for keys in elsewhere if view.name in keys]
    if not found:
        return view
    used = [at for at in (view.last_used, *(one.last_used for one in found)) if at is not None]
    return msgspec.structs.replace(
        view,
        requests=view.requests + sum(one.requests for one in found),
        refused=view.refused + sum(one.refused for one in found),
        tokens=view.tokens + sum(one.tokens for one in found),
        last_used=max(used, default=None),
    )
