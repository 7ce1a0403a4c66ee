"""The ledger: money is reserved before a priced request leaves, and settled by what it came to.

A reservation is durable before `reserve` returns, and the limit is checked in the transaction that
writes it: two requests, of two processes even, cannot both have the last dollar, and a process that
is killed leaves behind what it may have spent. What a dead process had reserved is booked at its
estimate. What a request came to counts in `standing` at once, before it is written: who asks again
as soon as he has his answer must not find his own last request in the way. While the store cannot
be written, the same checks are made in memory, for this process alone, and what is due is written
when it can be.

Replicas share a limit by publishing what their files have come to (see `store.sums`): a request
goes only if all of them together, with what it puts aside, stay within the limit. While that is
not to be learnt, each counts what it knew of the others last, and what it spends itself.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count

import msgspec

from nexus_proxy.accounting import entries
from nexus_proxy.accounting.balance import Balance, BySums, Found, find
from nexus_proxy.accounting.budget import (
    level_of,
    over_limit,
    refusal,
    sentence,
    standing_of,
)
from nexus_proxy.accounting.calendar import Calendar
from nexus_proxy.accounting.entries import ALL, NOTHING, Entry, Settlement, Sums
from nexus_proxy.accounting.lease import Lease
from nexus_proxy.accounting.report import checked, spend, summary
from nexus_proxy.config.model import BudgetAction, BudgetConfig
from nexus_proxy.dialects.openai_stream import MOST_TOKENS
from nexus_proxy.errors import StoreUnavailableError
from nexus_proxy.events import BudgetLevelChanged, Bus
from nexus_proxy.registry import EMA_WEIGHT
from nexus_proxy.state import SpendReport, SpendSummary
from nexus_proxy.store.schema import NANO
from nexus_proxy.store.sqlite import Store
from nexus_proxy.store.sums import Agreed, Row, SharedSums
from nexus_proxy.tasks import spawn
from nexus_proxy.telemetry.history import Record

log = logging.getLogger(__name__)

START_SECONDS = 0.25
BEAT_SECONDS = 10.0
GLANCE_SECONDS = 1.0
"""How often a process looks while there is a limit and money is put aside. It may be another
process's, and until this one knows that it came back, its requests are told of a spent budget."""
MOST_NANOUSD = 10**15
"""A request that costs a million dollars is a wrong price, and must not break the sums."""
MOST_NAME = 200
"""Characters of a name that a client chose, as it is kept."""


class Ledger:
    """Owner of all that is spent. `standing` is replaced whenever the sums change.

    `shared`: where replicas share what they spend, if they do; `publish` is to be called often.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        budget: BudgetConfig,
        *,
        clock: Callable[[], float] = time.time,
        shared: SharedSums | None = None,
    ) -> None:
        self._store, self._bus, self._clock = store, bus, clock
        self._shared = shared
        self._lease = Lease(clock)
        self._run, self._numbers = secrets.token_hex(8), count()
        """Together they name an entry: in order, so that the file takes them in one place."""
        self._beating: asyncio.Task[None] | None = None
        self._usage: dict[tuple[str, str, str, str], tuple[int, int, int]] = {}
        self._problem: str | None = None
        self._changes = 0
        self._budget = budget
        self._calendar = Calendar(budget.time_zone)
        self._balance = Balance(self._calendar.month(clock()), self._lease.owner)
        self._usual = 0.0
        """What requests of this process put aside on average: nano-USD, a moving one."""
        self.standing = standing_of(self._balance.month, NOTHING, budget, self._usual)
        self._told = self.standing.level
        self._judged: tuple[str, BudgetConfig, Sums] | None = None

    @property
    def problems(self) -> list[str]:
        """What is wrong now, in sentences."""
        return [problem for problem in (self._store.problem, self._problem) if problem]

    # -- life ----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take over what earlier runs left. Never raises, and waits for `START_SECONDS` at most."""
        await asyncio.wait([spawn(self._look(), name="ledger start")], timeout=START_SECONDS)
        if self._store.degraded and not self._balance.is_known:
            log.warning("spend of earlier runs is not known: %s", self._store.problem)
        self._beating = spawn(self._beat_on(), name="ledger")

    def stop(self) -> None:
        """Leave nothing open. The store is closed after this."""
        if self._beating is not None:
            self._beating.cancel()
        self._flush_usage()
        self._store.post(self._lease.leave)

    def apply(self, budget: BudgetConfig) -> None:
        """Take over a changed configuration."""
        changed = budget.time_zone != self._budget.time_zone
        self._budget = budget
        if changed:
            self._calendar = Calendar(budget.time_zone)
            self._resume(self._balance.month)
        self._judge()

    # -- priced requests -----------------------------------------------------------------------

    async def reserve(
        self,
        *,
        request_id: str,
        backend: str,
        model: str,
        model_asked: str,
        nanousd: int | None,
        key: str = "",
        key_limit_usd: float | None = None,
    ) -> Entry:
        """Put money aside; durable when this returns. Raises `BudgetExceededError`."""
        now = self._clock()
        month = self._turn_to(self._calendar.month(now))
        nanousd = _bounded(nanousd)
        day = self._calendar.day(now)
        entry = Entry(
            id=f"{self._run}{next(self._numbers):09x}",
            request_id=request_id,
            owner=self._lease.owner,
            at=now,
            day=day if day.startswith(month) else f"{month}-01",
            month=month,
            backend=backend,
            model=model,
            model_asked=model_asked[:MOST_NAME],
            key=key,
            nanousd=nanousd,
        )

        own, limits = Sums(reserved=nanousd or 0), self._limits(key, key_limit_usd)

        def job(connection: sqlite3.Connection) -> BySums:
            entries.reserve(connection, entry)
            told = _told(connection, entry)
            self._check(entry, limits, lambda one: told[one] + -own)  # undone where that raises
            return told

        try:
            await self._store.write(job, done=partial(self._learn, entry, NOTHING))
        except StoreUnavailableError:
            self._check(entry, limits, self._balance.own)
            self._post(entry, entries.reserve, own)
        except asyncio.CancelledError:
            self._post(entry, entries.release, NOTHING)  # whether it was written, nobody knows yet
            raise
        if self._shared is not None and limits:
            await self._agree(self._shared, entry, limits)
        if nanousd is not None:
            self._usual += EMA_WEIGHT * (nanousd - self._usual) if self._usual else nanousd
        return entry

    def settle(self, entry: Entry, settled: Settlement) -> None:
        """Book what the request came to."""
        if settled.nanousd != (bounded := _bounded(settled.nanousd)):
            settled = msgspec.structs.replace(settled, nanousd=bounded)
        change = Sums(
            spent=settled.nanousd or 0,
            reserved=-(entry.nanousd or 0),
            unknown=int(settled.nanousd is None),
        )
        self._post(entry, partial(_settle, settled=settled), change)

    def release(self, entry: Entry) -> None:
        """Give back what was put aside: the request came to nothing."""
        self._post(entry, entries.release, Sums(reserved=-(entry.nanousd or 0)))

    def spent_by_key(self) -> dict[str, float]:
        """USD of this month by name of the API key, reservations included."""
        every = self._balance.totals()
        return {key: (sums.spent + sums.reserved) / NANO for key, sums in every.items()}

    async def publish(self) -> None:
        """Tell the other replicas what this one has come to, and learn what they have. Raises
        `StoreUnavailableError`."""
        if self._shared is not None:
            month, rows = self._balance.month, self._rows()
            agreed = await self._shared.publish(_name(month), rows, trying=True)
            self._learn_others(month, agreed)

    async def report(self, month: str | None, by: str) -> SpendReport:
        """What a month has cost. Raises `InvalidRequestError` and `StoreUnavailableError`."""
        month, by = checked(month or self._balance.month, by)
        today = self._calendar.day(self._clock())
        self._flush_usage()
        await self._store.flush()  # what ended just now is in it too
        found = await self._store.read(lambda connection: spend(connection, month, by, today))
        others = self._balance.elsewhere(ALL) if month == self._balance.month else NOTHING
        return msgspec.structs.replace(
            found,
            limit_usd=self._budget.monthly_limit_usd,
            elsewhere_usd=(others.spent + others.reserved) / NANO,
            soft_percent=self._budget.soft_limit_percent,
        )

    @property
    def edition(self) -> tuple[int, str]:
        """Another one whenever a summary would read differently, as far as this process knows."""
        return self._changes, self._calendar.day(self._clock())

    async def summary(self) -> tuple[SpendSummary, float]:
        """This month as the screen shows it, and the seconds of a processor that it took to add up.
        Raises `StoreUnavailableError`."""
        month, today = self._balance.month, self._calendar.day(self._clock())

        def timed(connection: sqlite3.Connection) -> tuple[SpendSummary, float]:
            began = time.thread_time()
            return summary(connection, month, today), time.thread_time() - began

        if not self._store.degraded:
            self._flush_usage()
        await self._store.flush()  # what ended just now is in it too
        return await self._store.read(timed)

    # -- the rest ------------------------------------------------------------------------------

    def read(self, ended: Sequence[Record]) -> None:
        """A reader of `History`: adds up the tokens of requests that cost nothing."""
        self._changes += bool(ended)
        for record in ended:
            told = record.prompt_tokens is not None or record.completion_tokens
            if record.priced or record.backend is None or not told:
                continue
            day = self._calendar.day(record.started)
            where = (day, record.backend, record.model or "?", record.key or "")
            requests, prompt, completion = self._usage.get(where, (0, 0, 0))
            self._usage[where] = (
                requests + 1,
                prompt + _tokens(record.prompt_tokens),
                completion + _tokens(record.completion_tokens),
            )

    async def _beat_on(self) -> None:
        waited = 0.0
        while True:
            pause = min(GLANCE_SECONDS, BEAT_SECONDS)
            await asyncio.sleep(pause)
            waited += pause
            may_come_back = self.standing.limit_usd is not None and self.standing.reserved_usd > 0
            if waited < BEAT_SECONDS and not may_come_back:
                continue
            waited = 0.0
            # Not only with the next reservation: none comes while the old month's budget is spent.
            self._turn_to(self._calendar.month(self._clock()))
            if not self._store.degraded:
                self._flush_usage()
            await self._look()

    async def _look(self) -> None:
        """Give a sign of life, book for the dead, and learn how things stand."""
        month = ""
        while month != self._balance.month:
            month = self._balance.month
            try:
                await self._store.write(partial(self._renew, month), done=self._learn_all)
            except StoreUnavailableError:
                if self._balance.is_known:
                    return  # the store says why; the next beat comes
                try:
                    self._learn_all(await self._store.read(partial(find, month)))
                except StoreUnavailableError:
                    return

    def _flush_usage(self) -> None:
        usage, self._usage = self._usage, {}
        if usage:
            rows = [(*where, *counts) for where, counts in usage.items()]
            self._store.post(partial(entries.add_usage, rows=rows))

    # -- in the store's thread -----------------------------------------------------------------

    def _renew(self, month: str, connection: sqlite3.Connection) -> Found:
        self._lease.renew(connection)
        return find(month, connection)

    # -- inside --------------------------------------------------------------------------------

    def _resume(self, newest: str | None) -> None:
        """Go on from a month that is in the file: another process, or the clock, may be ahead."""
        now, problem = self._clock(), None
        if not self._calendar.resume(newest, now):
            problem = (
                f"the ledger knows of spend in {newest}, and the clock says "
                f"{self._calendar.month(now)}: one of them is wrong. Set the clock; until then "
                f"{self._calendar.month(now)} counts."
            )
            if problem != self._problem:
                log.error(problem)
        self._problem = problem
        self._turn_to(self._calendar.month(now))

    def _post(
        self, entry: Entry, job: Callable[[sqlite3.Connection, Entry], object], change: Sums
    ) -> None:
        """Have `job` done some time. `change` is what it will do to the sums, and counts now."""

        def both(connection: sqlite3.Connection) -> BySums:
            job(connection, entry)
            return _told(connection, entry)

        self._balance.expect(entry, change)
        self._judge()
        self._store.post(both, done=partial(self._learn, entry, change))

    def _limits(self, key: str, key_limit_usd: float | None) -> dict[str, float]:
        """What holds for a request with an API key, in USD, by the key whose sums it bounds."""
        limits = {} if key_limit_usd is None else {key: key_limit_usd}
        limit = self._budget.monthly_limit_usd
        if limit is not None and self._budget.hard_limit_action is not BudgetAction.WARN:
            limits[ALL] = limit
        return limits

    def _check(
        self, entry: Entry, limits: Mapping[str, float], sums_of: Callable[[str], Sums]
    ) -> None:
        for key, limit in limits.items():
            sums = sums_of(key) + self._balance.elsewhere(key)
            if over_limit(sums, entry.nanousd, limit):
                raise refusal(entry, key, sums, limit)

    async def _agree(self, shared: SharedSums, entry: Entry, limits: Mapping[str, float]) -> None:
        """See that all replicas together may spend what was put aside. Raises
        `BudgetExceededError`; what was put aside is given back then."""
        if entry.month != self._balance.month:
            return
        most = {key: round(limit * NANO) for key, limit in limits.items()}
        if entry.nanousd is None:  # goes as long as something is left, see `over_limit`
            most = {key: limit - 1 for key, limit in most.items()}
        try:
            rows = self._rows({ALL, entry.key})
            agreed = await shared.publish(_name(entry.month), rows, most)
        except StoreUnavailableError:
            return  # the rule for that is in this module's docstring
        except asyncio.CancelledError:
            self.release(entry)
            raise
        self._learn_others(entry.month, agreed)
        if (key := agreed.refused) is not None:
            self.release(entry)
            raise refusal(entry, key, self._balance.total(key), limits[key])

    def _rows(self, keys: Iterable[str] | None = None) -> list[Row]:
        return self._balance.rows(keys, is_apart=self._store.degraded)

    def _learn_others(self, month: str, agreed: Agreed) -> None:
        self._balance.learn_others(month, agreed)
        self._judge()

    def _turn_to(self, month: str) -> str:
        if self._balance.turn_to(month):
            self._judge()
        return month

    def _learn(self, entry: Entry, change: Sums, sums: BySums) -> None:
        """The file has taken in a `change`, and has these sums now."""
        self._balance.learn(entry, change, sums)
        self._judge()

    def _learn_all(self, found: Found) -> None:
        self._resume(found.newest)
        self._balance.learn_all(found)
        self._judge()

    def _judge(self) -> None:
        sums, before = self._balance.total(ALL), self.standing
        judged = (self._balance.month, self._budget, sums)
        if judged == self._judged:
            return
        self._judged = judged
        self.standing = standing_of(self._balance.month, sums, self._budget, self._usual)
        self._changes += self.standing != before
        # People are told of what is spent: what is only put aside comes and goes with each request.
        level = self.standing.level
        if sums.reserved:
            level = level_of(Sums(spent=sums.spent), self._budget, self._usual)
        if level is not self._told:
            self._told = level
            what = sentence(level, self.standing)
            self._bus.publish(BudgetLevelChanged(level=level.value, what=what))


def _told(connection: sqlite3.Connection, entry: Entry) -> BySums:
    return {one: entries.sums(connection, entry.month, one) for one in {ALL, entry.key}}


def _settle(connection: sqlite3.Connection, entry: Entry, *, settled: Settlement) -> None:
    entries.settle(connection, entry, settled)


def _name(month: str) -> str:
    """Under what replicas share what they spend in a month."""
    return f"spend:{month}"


def _bounded(nanousd: int | None) -> int | None:
    return None if nanousd is None else max(0, min(nanousd, MOST_NANOUSD))


def _tokens(count: int | None) -> int:
    """A count that breaks no sum, whatever a backend said."""
    return count if count is not None and 0 < count <= MOST_TOKENS else 0
