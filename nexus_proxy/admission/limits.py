"""Requests and tokens per minute of each API key, and what it has used."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from nexus_proxy.admission.bucket import Bucket
from nexus_proxy.admission.keys import Key
from nexus_proxy.admission.shared import Draw, Drawn, SharedBuckets
from nexus_proxy.errors import RateLimitedError, StoreUnavailableError
from nexus_proxy.state import KeyView

if TYPE_CHECKING:
    from nexus_proxy.admission.cells import Cells

HeaderList = list[tuple[bytes, bytes]]
ALONE: AbstractContextManager[None] = nullcontext()


class Usage:
    """What one key has used, and what it may still use now. `last_used` is seconds since the
    epoch; `tokens` are prompts and answers, as measured, or else as estimated."""

    __slots__ = ("last_used", "refused", "requests", "requests_left", "tokens", "tokens_left")

    def __init__(self) -> None:
        self.requests = self.refused = self.tokens = 0
        self.last_used: float | None = None
        self.requests_left: Bucket | None = None
        self.tokens_left: Bucket | None = None


class Admitted(NamedTuple):
    """A request that was let in, with an estimate of its tokens; whether they were taken off what
    all replicas share, or off what this process has for itself."""

    tokens: int
    is_shared: bool = False


class Limits:
    """Counts for all keys. A reload keeps what was used.

    `cells`: where the buckets are that all workers of this gateway share. `shared`: those of all
    replicas, which then decide, and which the own ones follow.
    """

    def __init__(
        self,
        keys: Iterable[Key] = (),
        *,
        cells: Cells | None = None,
        shared: SharedBuckets | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shared = shared
        self._cells = cells
        self._alone = ALONE if cells is None else cells
        self._clock = clock
        self._usage: dict[str, Usage] = {}
        self.apply(keys)

    def apply(self, keys: Iterable[Key]) -> None:
        """Take over changed keys. A bucket whose limit changed keeps how far it is drained."""
        kept: dict[str, Usage] = {}
        for key in keys:
            name = key.name
            usage = kept[name] = self._usage.get(name) or Usage()
            usage.requests_left = self._bucket(
                usage.requests_left, name, "requests", key.requests_per_minute
            )
            usage.tokens_left = self._bucket(
                usage.tokens_left, name, "tokens", key.tokens_per_minute
            )
        self._usage = kept

    def admit(self, key: Key, tokens: int) -> Admitted:
        """Take one request and an estimate of `tokens` (prompt and, where known, the longest
        answer), or nothing at all. Raises `RateLimitedError`."""
        usage = self._usage_of(key)
        requests_left, tokens_left = usage.requests_left, usage.tokens_left
        if requests_left is not None or tokens_left is not None:
            with self._alone:
                now = self._clock()
                by_requests = 0.0 if requests_left is None else requests_left.wait(1, now)
                by_tokens = 0.0 if tokens_left is None else tokens_left.wait(tokens, now)
                if by_requests or by_tokens:
                    usage.refused += 1
                    raise self._refusal(key, tokens, by_requests, by_tokens)
                if requests_left is not None:
                    requests_left.take(1, now)
                if tokens_left is not None:
                    tokens_left.take(tokens, now)
        self._count(usage, tokens)
        return Admitted(tokens)

    async def admit_everywhere(self, key: Key, tokens: int) -> Admitted:
        """As `admit`, for all replicas; for this one while the shared store is away."""
        usage = self._usage_of(key)
        draws = list(self._draws(key.name, usage, 1, tokens))
        if self._shared is None or not draws:
            return self.admit(key, tokens)
        try:
            drawn = await self._drawn(self._shared, draws)
        except StoreUnavailableError:
            return self.admit(key, tokens)
        wait = {draw.what: one.wait for draw, one in zip(draws, drawn, strict=True)}
        if any(wait.values()):
            usage.refused += 1
            raise self._refusal(key, tokens, wait.get("requests", 0.0), wait.get("tokens", 0.0))
        self._count(usage, tokens)
        return Admitted(tokens, is_shared=True)

    async def tell(self) -> None:
        """Tell the other replicas what answers needed, and learn how far all buckets are drained.
        Raises `StoreUnavailableError`."""
        if self._shared is None:
            return
        draws = [
            draw for name, usage in self._usage.items() for draw in self._draws(name, usage, 0, 0)
        ]
        if draws:
            await self._drawn(self._shared, draws)

    def settle(self, key: Key, admitted: Admitted, measured: int) -> None:
        """A request that was let in has used `measured` tokens; 0 where no backend was reached.
        Not to be called where the usage is unknown: the estimate stands."""
        usage = self._usage.get(key.name)
        if usage is None or measured == admitted.tokens:  # None: revoked while the request ran
            return
        measured = max(0, measured)
        usage.tokens += measured - admitted.tokens
        if usage.tokens_left is not None:
            with self._alone:
                more = usage.tokens_left.correct(admitted.tokens, measured, self._clock())
            if self._shared is not None and admitted.is_shared:
                self._shared.correct(key.name, "tokens", more)

    def headers(self, key: Key) -> HeaderList:
        """OpenAI's `x-ratelimit-*`, for each limit that the key has."""
        usage, now = self._usage_of(key), self._clock()
        found: HeaderList = []
        for what, bucket in ((b"requests", usage.requests_left), (b"tokens", usage.tokens_left)):
            if bucket is not None:
                found += [
                    (b"x-ratelimit-limit-" + what, b"%d" % bucket.limit),
                    (b"x-ratelimit-remaining-" + what, b"%d" % bucket.level(now)),
                    (b"x-ratelimit-reset-" + what, _duration(bucket.reset(now))),
                ]
        return found

    @property
    def used(self) -> Mapping[str, Usage]:
        """What each key has used at this process. Not to be changed."""
        return self._usage

    def views(
        self, keys: Iterable[Key], spent_usd: Mapping[str, float | None] | None = None
    ) -> tuple[KeyView, ...]:
        """All keys as frozen values, by name. `spent_usd`: what each has spent this month."""
        now, spent = self._clock(), spent_usd or {}
        return tuple(
            self._view(key, now, spent.get(key.name)) for key in sorted(keys, key=lambda k: k.name)
        )

    # -- inside --------------------------------------------------------------------------------

    def _count(self, usage: Usage, tokens: int) -> None:
        usage.requests += 1
        usage.tokens += tokens
        usage.last_used = time.time()

    def _draws(self, name: str, usage: Usage, requests: int, tokens: int) -> Iterator[Draw]:
        for what, bucket, amount in (
            ("requests", usage.requests_left, requests),
            ("tokens", usage.tokens_left, tokens),
        ):
            if bucket is not None:
                yield Draw(name, what, bucket.limit, amount)

    async def _drawn(self, shared: SharedBuckets, draws: Sequence[Draw]) -> list[Drawn]:
        """What came of it, with the own buckets following. Raises `StoreUnavailableError`."""
        drawn = await shared.take(draws)
        now = self._clock()
        for draw, one in zip(draws, drawn, strict=True):
            usage = self._usage.get(draw.key)
            if usage is not None:
                bucket = usage.requests_left if draw.what == "requests" else usage.tokens_left
                if bucket is not None:
                    bucket.follow(one.reset, now)
        return drawn

    def _usage_of(self, key: Key) -> Usage:
        usage = self._usage.get(key.name)
        # A key may be revoked between the check of a request's head and the end of its body.
        return Usage() if usage is None else usage

    def _bucket(self, old: Bucket | None, name: str, what: str, limit: int | None) -> Bucket | None:
        if limit is None:
            return None
        if old is None:
            cell = None if self._cells is None else self._cells.cell(f"{name} {what}")
            return Bucket(limit, cell)
        old.limit = limit
        return old

    def _refusal(
        self, key: Key, tokens: int, by_requests: float, by_tokens: float
    ) -> RateLimitedError:
        wait = max(by_requests, by_tokens)
        seconds = math.ceil(wait)
        if by_tokens > by_requests:
            used = f"{key.tokens_per_minute} tokens per minute (this request: about {tokens})"
        else:
            used = f"{key.requests_per_minute} requests per minute"
        return RateLimitedError(
            f"the key {key.name!r} is at its limit of {used}; try again in {seconds} s",
            retry_after=seconds,
            headers=[(b"retry-after-ms", b"%d" % math.ceil(wait * 1000)), *self.headers(key)],
        )

    def _view(self, key: Key, now: float, spent_usd: float | None) -> KeyView:
        usage = self._usage_of(key)
        requests_left, tokens_left = usage.requests_left, usage.tokens_left
        return KeyView(
            name=key.name,
            zone=key.zone,
            priority=key.priority.value,
            models=key.models,
            watch=key.watch,
            requests_per_minute=key.requests_per_minute,
            requests_left=None if requests_left is None else requests_left.level(now),
            tokens_per_minute=key.tokens_per_minute,
            tokens_left=None if tokens_left is None else tokens_left.level(now),
            monthly_limit_usd=key.monthly_limit_usd,
            spent_usd=spent_usd,
            requests=usage.requests,
            refused=usage.refused,
            tokens=usage.tokens,
            last_used=usage.last_used,
        )


def cells_at(handle: int) -> Cells | None:
    """Where workers share limits, or None for one that is alone. Asks for what Windows lacks."""
    if handle < 0:
        return None
    from nexus_proxy.admission.cells import Cells

    return Cells(handle)


def _duration(seconds: float) -> bytes:
    """As OpenAI writes it, after Go: `0s`, `250ms`, `1.5s`, `6m0s`. Rounded up."""
    milliseconds = math.ceil(seconds * 1000 - 1e-3)
    if milliseconds < 1000:
        return b"%dms" % milliseconds if milliseconds > 0 else b"0s"
    minutes, rest = divmod(milliseconds, 60_000)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    return (f"{minutes}m{text}" if minutes else text).encode()
