"""The clocks of one attempt, and the watch over a host that keeps us waiting.

One timer for all attempts, which looks at each of them every `GRAIN` seconds: a request that is
answered in time costs no timer, and a token only sets a flag. Every `TICK` seconds the waiting
relay is woken, so that it can send its client a sign of life; and while no token has come, the host
is asked on a second connection whether it is still there. A host that is silent there too (asleep,
frozen, unplugged) is given up after two such questions, long before the first-token clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from msgspec import Struct

from nexus_proxy.errors import ClockError, HostSilentError
from nexus_proxy.relay.upstream import Exchange
from nexus_proxy.tasks import spawn

GRAIN = 0.2
"""How late a clock may fire, in seconds."""
TICK = 2.0
SILENT_QUESTIONS = 2

AskHost = Callable[[], Awaitable[bool]]


class Clocks(Struct, frozen=True, kw_only=True):
    """Seconds for each clock of one attempt. `load_seconds` replaces the first-token clock while
    the model is known to be loading."""

    connect_seconds: float
    first_token_seconds: float
    idle_seconds: float
    total_seconds: float | None
    load_seconds: float


class Watch:
    """All attempts whose clocks run, and the timer that looks at them while there are any."""

    def __init__(self) -> None:
        self._watched: set[Patience] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, patience: Patience) -> None:
        """Look at it from now on."""
        self._watched.add(patience)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GRAIN, self._look)

    def remove(self, patience: Patience) -> None:
        """Look at it no more."""
        self._watched.discard(patience)

    def _look(self) -> None:
        self._timer = None
        if not self._watched:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        for patience in tuple(self._watched):
            patience.look(now)
        self._timer = loop.call_later(GRAIN, self._look)


class Patience:
    """Runs the clocks of one exchange. Use as `with`.

    Attributes:
        client_is_slow: set while bytes wait for the client; the backend's clocks stand still then.
        stirred: to be set when the backend has shown that it is at work: the clock that runs starts
            again.
    """

    __slots__ = (
        "_ask_host",
        "_backend",
        "_clock",
        "_clocks",
        "_deadline",
        "_exchange",
        "_loop",
        "_next_tick",
        "_question",
        "_seconds",
        "_silent",
        "_started",
        "_waiting_for_first",
        "_watch",
        "client_is_slow",
        "stirred",
    )

    def __init__(
        self,
        watch: Watch,
        exchange: Exchange,
        clocks: Clocks,
        *,
        backend: str,
        loading: bool,
        ask_host: AskHost | None,
    ) -> None:
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._exchange = exchange
        self._clocks = clocks
        self._backend = backend
        self._ask_host = ask_host
        self._question: asyncio.Task[None] | None = None
        self._silent = 0
        self._waiting_for_first = True
        self.client_is_slow = self.stirred = False
        self._started = self._loop.time()
        self._clock = "load" if loading else "first_token"
        self._seconds = clocks.load_seconds if loading else clocks.first_token_seconds
        self._deadline = self._started + self._seconds
        self._next_tick = self._started + TICK

    def __enter__(self) -> Patience:
        self._watch.add(self)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._watch.remove(self)
        if self._question is not None:
            self._question.cancel()

    def first_token(self) -> None:
        """A token came: from now on the idle clock runs."""
        self._waiting_for_first = False
        self._clock, self._seconds = "idle", self._clocks.idle_seconds
        self.stirred = True

    def look(self, now: float) -> None:
        """See whether a clock has run out, or whether it is time for a tick."""
        total = self._clocks.total_seconds
        if self.stirred or self.client_is_slow:
            self.stirred = False
            self._deadline = now + self._seconds
        if total is not None and now >= self._started + total:
            self._expire("total", total)
        elif now >= self._deadline:
            self._expire(self._clock, self._seconds)
        elif now >= self._next_tick:
            self._next_tick = now + TICK
            self._watch_host()
            self._exchange.wake()

    def _expire(self, clock: str, seconds: float) -> None:
        what = {
            "first_token": "sent no token",
            "load": "did not finish loading the model",
            "idle": "sent nothing more",
            "total": "did not finish its answer",
        }[clock]
        self._exchange.fail(
            ClockError(
                f"{self._backend} {what} within {seconds:g} s (timeouts.{clock}_seconds)",
                backend=self._backend,
                clock=clock,
                seconds=seconds,
            )
        )

    def _watch_host(self) -> None:
        if self._ask_host is None or not self._waiting_for_first or self._question is not None:
            return
        self._question = spawn(self._ask(self._ask_host), name=f"ask {self._backend}")

    async def _ask(self, ask_host: AskHost) -> None:
        answered = await ask_host()
        self._question = None
        self._silent = 0 if answered else self._silent + 1
        if self._silent >= SILENT_QUESTIONS and self._waiting_for_first:
            waited = self._loop.time() - self._started
            self._exchange.fail(
                HostSilentError(
                    f"{self._backend} went silent: after {waited:.0f} s without a token its host "
                    "no longer answers on a second connection",
                    backend=self._backend,
                    clock="first_token",
                    seconds=round(waited, 1),
                )
            )
