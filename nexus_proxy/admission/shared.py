"""The limits of API keys that replicas keep together: the buckets of `admission.bucket`, in the
shared store and by its clock.

Same arithmetic, same names. What a request turned out not to need, or to need more, is told with
the next question about its key, or once a second (`Limits.tell`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nexus_proxy.admission.bucket import LONGEST_DEBT, WINDOW
from nexus_proxy.store.redis import Script, SharedStore

LIFE_SECONDS = int(LONGEST_DEBT + WINDOW)
"""A bucket that nobody has touched for so long is full, and forgotten."""

TAKE = Script(
    "take",
    """
    local window, longest, life = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
    local time = redis.call('TIME')
    local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
    local full, cost, wait, refused = {}, {}, {}, false
    for i, key in ipairs(KEYS) do
        local limit, amount = tonumber(ARGV[i * 3 + 1]), tonumber(ARGV[i * 3 + 2])
        local more = tonumber(ARGV[i * 3 + 3])
        local at = tonumber(redis.call('GET', key) or '0')
        if more > 0 then at = math.max(at, now) end
        full[i] = math.min(at + more, now + longest)
        cost[i] = math.min(amount, limit) / limit * window
        wait[i] = math.max(full[i], now) + cost[i] - now - window
        if amount == 0 or wait[i] <= 1e-6 then wait[i] = 0 else refused = true end
    end
    local answer = {}
    for i, key in ipairs(KEYS) do
        if not refused and cost[i] > 0 then full[i] = math.max(full[i], now) + cost[i] end
        if full[i] > now then
            redis.call('SET', key, string.format('%.6f', full[i]), 'EX', life)
        else
            redis.call('DEL', key)
        end
        answer[#answer + 1] = string.format('%.6f', wait[i])
        answer[#answer + 1] = string.format('%.6f', math.max(0, full[i] - now))
    end
    return answer
    """,
)


class Draw(NamedTuple):
    """What is asked of one bucket. `what`: `requests` or `tokens`; `more`: seconds of refill that
    earlier answers needed beyond what was taken for them, less than 0 to give back."""

    key: str
    what: str
    limit: int
    amount: int
    more: float


class Drawn(NamedTuple):
    """Seconds until that much can be taken, 0.0 where it was, and until the bucket is full."""

    wait: float
    reset: float


class SharedBuckets:
    """The buckets of all replicas."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store

    async def take(self, draws: Sequence[Draw]) -> list[Drawn]:
        """Take from all buckets, or from none where one has too little; what `more` says is put
        right in any case. Raises `StoreUnavailableError`: nobody knows whether it was taken."""
        keys = [f"nexus:{{limits}}:{draw.key}:{draw.what}" for draw in draws]
        arguments: list[object] = [WINDOW, LONGEST_DEBT, LIFE_SECONDS]
        for draw in draws:
            arguments += (draw.limit, draw.amount, f"{draw.more:.6f}")
        return list(_pairs(await self._store.run(TAKE, keys, arguments)))


def _pairs(flat: Sequence[str]) -> Iterable[Drawn]:
    for at in range(0, len(flat), 2):
        yield Drawn(float(flat[at]), float(flat[at + 1]))
