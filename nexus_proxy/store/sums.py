"""Sums over replicas: each keeps rows of its own, and reads what all rows come to.

A row is written whole and never added to, so that it may be sent twice, or again to a server that
has lost everything. Its revision tells which of two came later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from nexus_proxy.store.redis import Script, SharedStore

LIFE_SECONDS = 62 * 24 * 3600
"""Sums that nobody has changed for so long are forgotten: two months and none in force."""

Figures = tuple[int, int, int]

PUBLISH = Script(
    "publish",
    """
    local rows, totals, life = KEYS[1], KEYS[2], ARGV[1]
    local function read(hash, field)
        local found = {0, 0, 0, 0}
        local text, i = redis.call('HGET', hash, field), 1
        for word in string.gmatch(text or '', '%S+') do
            found[i] = tonumber(word)
            i = i + 1
        end
        return found
    end
    local function write(hash, field, f)
        redis.call('HSET', hash, field, string.format('%.0f %.0f %.0f %.0f', unpack(f)))
    end

    local at, changed, sums, own = 3, {}, {}, {}
    for _ = 1, tonumber(ARGV[2]) do
        local field, key = ARGV[at] .. ' ' .. ARGV[at + 1], ARGV[at + 1]
        local new = {}
        for j = 1, 4 do new[j] = tonumber(ARGV[at + 1 + j]) end
        at = at + 6
        local old = read(rows, field)
        sums[key] = sums[key] or read(totals, key)
        own[key] = own[key] or {0, 0, 0, 0}
        if new[1] > old[1] then
            for j = 2, 4 do sums[key][j] = sums[key][j] + new[j] - old[j] end
            changed[field] = new
        else
            new = old
        end
        for j = 2, 4 do own[key][j] = own[key][j] + new[j] end
    end

    local refused = ''
    local answer = {0}
    for _ = 1, tonumber(ARGV[at]) do
        local key, most = ARGV[at + 1], tonumber(ARGV[at + 2])
        at = at + 2
        if answer[1] == 0 and sums[key][2] + sums[key][3] > most then
            answer[1], refused = 1, key
        end
    end
    if answer[1] == 0 then
        for field, new in pairs(changed) do write(rows, field, new) end
        for key, sum in pairs(sums) do write(totals, key, sum) end
        redis.call('EXPIRE', rows, life)
        redis.call('EXPIRE', totals, life)
    end
    answer[2] = refused
    local all = redis.call('HGETALL', totals)
    for i = 1, #all, 2 do
        local key = all[i]
        local sum = sums[key] or read(totals, key)
        local mine = own[key] or {0, 0, 0, 0}
        answer[#answer + 1] = key
        for j = 2, 4 do answer[#answer + 1] = string.format('%.0f', sum[j] - mine[j]) end
    end
    return answer
    """,
)


class Row(NamedTuple):
    """What `owner` has come to under `key`. `owner` holds no space."""

    owner: str
    key: str
    revision: int
    figures: Figures


class Agreed(Struct, frozen=True):
    """What came of publishing. `refused` is the key whose limit all together would pass; nothing
    was published then. `others` are the figures of all other owners, by key."""

    refused: str | None
    others: dict[str, Figures]


class SharedSums:
    """The rows and sums that stand under one name."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    async def publish(
        self,
        name: str,
        rows: Sequence[Row],
        limits: Mapping[str, int] | None = None,
        *,
        trying: bool = False,
    ) -> Agreed:
        """Publish rows, unless with them the first two figures of a key in `limits` would come to
        more than its limit over all owners. Raises `StoreUnavailableError`."""
        arguments: list[object] = [LIFE_SECONDS, len(rows)]
        for row in rows:
            arguments += (row.owner, row.key, row.revision, *row.figures)
        arguments.append(len(limits or {}))
        for key, most in (limits or {}).items():
            arguments += (key, most)
        keys = (f"nexus:{{{name}}}:rows", f"nexus:{{{name}}}:totals")
        answer = await self._store.run(PUBLISH, keys, arguments, trying=trying)
        refused = str(answer[1]) if answer[0] else None
        return Agreed(refused, dict(_by_key(answer[2:])))


def _by_key(flat: Sequence[str]) -> Iterable[tuple[str, Figures]]:
    for at in range(0, len(flat), 4):
        key, first, second, third = flat[at : at + 4]
        yield key, (int(first), int(second), int(third))
