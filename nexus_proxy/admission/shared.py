"""The limits of API keys that replicas keep together: the buckets of `admission.bucket`, in the
shared store and by its clock.

Same arithmetic, same names. What a request turned out not to need, or to need more, is told with
the next question about its key, or once a second (`Limits.tell`): each process tells what its
answers needed in all, beside the number of the question, and the store remembers both. So what is
told twice counts once, and what was not heard is told by the next question that is.
"""

from __future__ import annotations

import secrets
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
    local question = tonumber(ARGV[4])
    local time = redis.call('TIME')
    local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
    local full, cost, wait, refused = {}, {}, {}, false
    for i = 1, #KEYS / 2 do
        local key, told = KEYS[i * 2 - 1], KEYS[i * 2]
        local limit, amount = tonumber(ARGV[i * 4 + 1]), tonumber(ARGV[i * 4 + 2])
        local needed, heard = tonumber(ARGV[i * 4 + 3]), tonumber(ARGV[i * 4 + 4])
        local asked, before = string.match(redis.call('GET', told) or '', '^(%d+) (%S+)$')
        local more = needed - (tonumber(before) or heard)
        if tonumber(asked or 0) > question then
            more = 0
        elseif more ~= 0 then
            redis.call('SET', told, question .. ' ' .. ARGV[i * 4 + 3], 'EX', life)
        end
        local at = tonumber(redis.call('GET', key) or '0')
        if more > 0 then at = math.max(at, now) end
        full[i] = math.min(at + more, now + longest)
        cost[i] = math.min(amount, limit) / limit * window
        wait[i] = math.max(full[i], now) + cost[i] - now - window
        if amount == 0 or wait[i] <= 1e-6 then wait[i] = 0 else refused = true end
    end
    local answer = {}
    for i = 1, #KEYS / 2 do
        local key = KEYS[i * 2 - 1]
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
    """What is asked of one bucket. `what`: `requests` or `tokens`."""

    key: str
    what: str
    limit: int
    amount: int


class Drawn(NamedTuple):
    """Seconds until that much can be taken, 0.0 where it was, and until the bucket is full."""

    wait: float
    reset: float


class _Account:
    """What answers of this process needed beyond what was taken for them, in seconds of refill;
    `heard`: of it, what the store has heard of for sure, by which question."""

    __slots__ = ("heard", "needed", "question")

    def __init__(self) -> None:
        self.needed = self.heard = 0.0
        self.question = 0


class SharedBuckets:
    """The buckets of all replicas."""

    def __init__(self, store: SharedStore) -> None:
        self._store = store
        self._owner = secrets.token_hex(8)
        self._question = 0
        self._accounts: dict[str, _Account] = {}

    def correct(self, key: str, what: str, more: float) -> None:
        """An answer needed `more` seconds of refill than were taken for it here; less than 0: not
        as much. Told by the next questions about the bucket."""
        self._account(_name(key, what)).needed += more

    async def take(self, draws: Sequence[Draw]) -> list[Drawn]:
        """Take from all buckets, or from none where one has too little; what `correct` was told is
        put right in any case. Raises `StoreUnavailableError`: nobody knows whether it was taken."""
        self._question = question = self._question + 1
        keys: list[str] = []
        arguments: list[object] = [WINDOW, LONGEST_DEBT, LIFE_SECONDS, question]
        told: list[tuple[_Account, float]] = []
        for draw in draws:
            name = _name(draw.key, draw.what)
            account = self._account(name)
            keys += (name, f"{name}:{self._owner}")
            needed, heard = f"{account.needed:.6f}", f"{account.heard:.6f}"
            arguments += (draw.limit, draw.amount, needed, heard)
            told.append((account, account.needed))
        drawn = list(_pairs(await self._store.run(TAKE, keys, arguments)))
        for account, needed_by_then in told:
            if account.question < question:
                account.question, account.heard = question, needed_by_then
        return drawn

    def _account(self, name: str) -> _Account:
        return self._accounts.setdefault(name, _Account())


def _name(key: str, what: str) -> str:
    return f"nexus:{{limits}}:{key}:{what}"


def _pairs(flat: Sequence[str]) -> Iterable[Drawn]:
    for at in range(0, len(flat), 2):
        yield Drawn(float(flat[at]), float(flat[at + 1]))
