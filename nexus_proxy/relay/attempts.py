"""One try at one backend: what is sent, what comes of it, and what is learnt from that."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import cast

from nexus_proxy.accounting.prices import Price, Unpriced
from nexus_proxy.backends.base import Fault
from nexus_proxy.config.model import TimeoutsConfig
from nexus_proxy.dialects import openai
from nexus_proxy.errors import (
    AirplaneError,
    BudgetExceededError,
    ConnectFailedError,
    InvalidRequestError,
    UpstreamError,
    UpstreamStatusError,
)
from nexus_proxy.quality.affinity import NO_KEYS, Affinity
from nexus_proxy.quality.service import Outcome, Quality
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.abroad import put
from nexus_proxy.relay.aloft import Aloft
from nexus_proxy.relay.blame import Blame
from nexus_proxy.relay.call import Call
from nexus_proxy.relay.delivery import Delivery
from nexus_proxy.relay.endings import NO_PACE, Pace, pace_of, why_it_ended
from nexus_proxy.relay.line import Lines
from nexus_proxy.relay.outbound import Outbound
from nexus_proxy.relay.patience import Patience, Watch
from nexus_proxy.relay.secrecy import Secret
from nexus_proxy.relay.tap import ModelName
from nexus_proxy.relay.till import Till
from nexus_proxy.relay.tries import Failure
from nexus_proxy.relay.upstream import Exchange, Pools
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.routing.pipeline import Decision
from nexus_proxy.routing.types import Candidate
from nexus_proxy.state import BackendState, RequestPhase
from nexus_proxy.telemetry.history import Attempt, History

_WAITING, _LOADING = RequestPhase.WAITING, BackendState.LOADING
_SERVED = Outcome.SERVED
NO_SUCH_PATH = (404, 405, 501)


class Attempts:
    """Asks backends for answers, and tells everybody who learns from it how that went.

    `suspect(name)` asks the health checker to look at a backend soon, `compare(model)` to compare
    the vectors of those that embed with a model.

    Attributes:
        aloft: what is on its way to clouds.
        lines: the ways to the backends, over the connections of `pools`.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        history: History,
        environ: Mapping[str, str],
        suspect: Callable[[str], None],
        compare: Callable[[str], None],
        quality: Quality,
        affinity: Affinity,
        till: Till,
        aloft: Aloft,
        timeouts: TimeoutsConfig,
    ) -> None:
        self.aloft = aloft
        self.pools = Pools(environ)
        self._registry, self._history, self._environ = registry, history, environ
        self._blame, self._compare = Blame(registry, suspect), compare
        self._watch = Watch()
        self._quality, self._affinity, self._till = quality, affinity, till
        self.apply(timeouts)

    def apply(self, timeouts: TimeoutsConfig) -> None:
        """Take over changed clocks, for requests that come from now on."""
        self.lines = Lines(self.pools, timeouts)

    async def make(
        self, call: Call, decision: Decision, candidate: Candidate, others: int
    ) -> Failure | None:
        """Try one backend, one of whose slots is held, after `others` failed. None: it answered."""
        backend = cast(Backend, candidate.backend)
        record, served_id = call.record, candidate.served_id
        attempt = Attempt(backend.name, served_id, time.time(), time.perf_counter())
        record.attempts.append(attempt)
        record.backend, record.model, record.phase = backend.name, served_id, _WAITING
        reason = record.route_reason = decision.route_reason(candidate, others)
        is_cloud, zone = backend.traits.is_cloud, candidate.zone.label
        lines = wire_headers.route_lines(
            backend.name, is_cloud, reason, zone, served_id, decision.is_fallback
        )
        call.route_headers, call.model = list(lines), candidate.model
        if record.queued_ms is not None:
            call.route_headers.append((b"x-nexus-queued-ms", b"%d" % record.queued_ms))
        self._history.progressed(record)
        model, outcome = candidate.model.id, Outcome.BLAMELESS
        price = self._till.price(backend, candidate.model, served_id)
        self._begin(decision, backend, model)
        lacks_dialect = False
        try:
            if is_away(is_cloud, candidate.zone):
                async with self.aloft.flight(backend.name):
                    await self._send(call, backend, candidate, attempt, price)
            else:
                await self._send(call, backend, candidate, attempt, price)
            outcome = _SERVED
        except (BudgetExceededError, AirplaneError, InvalidRequestError) as error:
            attempt.error, attempt.code = error.message, error.code
            return Failure(error, Fault.UNSUPPORTED)
        except UpstreamError as error:
            attempt.error, attempt.code = error.message, error.code
            failure = self._blame.judge(error, backend, model, call.peek.route)
            lacks_dialect = failure.fault is Fault.UNSUPPORTED and self._is_news(
                call, backend, error
            )
            if failure.fault in (Fault.BACKEND, Fault.CREDENTIALS):
                outcome = Outcome.CUT if call.committed else Outcome.FAULT
            if failure.fault is Fault.LOADING:
                record.forget_repeats()
            if not lacks_dialect:
                return failure
        except (asyncio.CancelledError, ConnectionError):
            attempt.error, attempt.code = why_it_ended(call)
            raise
        finally:
            attempt.total_ms = attempt.elapsed_ms()
            pace = pace_of(call, attempt) if outcome is _SERVED else NO_PACE
            self._end(decision, backend, model, outcome, pace)
        if lacks_dialect:
            return await self.make(call, decision, candidate, others)
        if call.keys is not NO_KEYS:
            self._affinity.note(call.keys, backend, model)
        self._registry.learn(backend, model, *pace)
        if record.truncated is not None:
            self._registry.note_truncation(backend, model, record.truncated)
        return None

    def _begin(self, decision: Decision, backend: Backend, model: str) -> None:
        self._quality.begin(backend, model)
        if decision.facts.embeds:
            self._compare(decision.resolution.model)
            self._registry.embeds(backend, model, decision.resolution.path)

    def _end(
        self, decision: Decision, backend: Backend, model: str, outcome: Outcome, pace: Pace
    ) -> None:
        self._quality.note(backend, model, outcome, *pace)
        if decision.facts.embeds:
            path, served = decision.resolution.path, outcome is _SERVED
            self._registry.embedded(backend, path, served=served)

    async def _send(
        self,
        call: Call,
        backend: Backend,
        candidate: Candidate,
        attempt: Attempt,
        price: Price | Unpriced,
    ) -> None:
        """An exchange; with its money put aside before, where it costs any. Raises
        `BudgetExceededError` too."""
        if price is Unpriced.FREE:
            await self._exchange(call, backend, candidate, attempt)
            return
        call.usage, call.relayed_tokens = None, 0
        with await self._till.open(call, backend, price) as bill:
            usd = bill.estimated.usd
            text = b"unknown" if usd is None else b"%.6f" % usd
            call.route_headers.append((b"x-nexus-cost-estimated", text))
            await self._exchange(call, backend, candidate, attempt)

    async def _exchange(
        self, call: Call, backend: Backend, candidate: Candidate, attempt: Attempt
    ) -> None:
        line = self.lines.to(backend)
        key = self.key_of(backend)
        if call.asked is None and line.speaks_chat and not call.record.notes:
            outbound = Outbound(call, line, candidate.model, candidate.served_id)
        else:
            outbound = put(call, line, candidate.model, candidate.served_id)
        request = outbound.request(key)
        connect_seconds = line.clocks.connect_seconds
        async with Exchange(line.pool, request, connect_seconds=connect_seconds) as exchange:
            attempt.connect_ms = attempt.elapsed_ms()
            exchange.may_reuse = line.traits.reuse_after_stream or not outbound.streams
            with Patience(
                self._watch,
                exchange,
                line.clocks,
                backend=backend.name,
                loading=backend.health is _LOADING or candidate.model.loaded is False,
                ask_host=None if line.traits.is_cloud else line.host_answers,
            ) as patience:
                delivery = Delivery(
                    call,
                    exchange,
                    patience,
                    attempt,
                    secret=Secret(key) if key else None,
                    rename=_rename(call, outbound, candidate.served_id),
                    outbound=outbound,
                )
                try:
                    await self._deliver(call, attempt, delivery, outbound)
                except BaseException:
                    delivery.note_interrupted()
                    raise

    @staticmethod
    async def _deliver(
        call: Call, attempt: Attempt, delivery: Delivery, outbound: Outbound
    ) -> None:
        head = await delivery.head()
        call.route_headers.append(wire_headers.timing(call.record, attempt))
        if head.status != 200:
            raise await delivery.failure()
        if outbound.aggregates:
            await delivery.aggregate()
        elif outbound.streams:
            await delivery.stream()
        elif call.peek.route is not None:
            await delivery.pass_through()
        else:
            await delivery.whole()

    def _is_news(self, call: Call, backend: Backend, error: UpstreamError) -> bool:
        """Whether all that a backend cannot do is to take a dialect as it is, which was not known:
        it can be asked again, in translation."""
        if call.asked is None or call.untranslatable is not None:
            return False
        if not isinstance(error, UpstreamStatusError) or error.upstream_status not in NO_SUCH_PATH:
            return False
        told = (openai.as_object(error.body) or {}).get("error")
        if isinstance(told, dict) and told.get("param"):  # it is not the path that is not there
            return False
        return self.lines.to(backend).lacks(call.envelope.endpoint, call.original)

    def key_of(self, backend: Backend) -> str | None:
        """The key that lets us in. Raises `ConnectFailedError` for one that HTTP cannot carry."""
        variable = backend.api_key_env
        if variable is None:
            return None
        key = self._environ.get(variable, "").strip()
        if not key.isprintable():
            raise ConnectFailedError(
                f"the key of {backend.name} holds characters that HTTP cannot carry ({variable})",
                backend=backend.name,
            )
        return key or None


def _rename(call: Call, outbound: Outbound, served: str) -> ModelName | None:
    asked = call.peek.model
    if outbound.native is not None and call.asked is not None:
        asked = call.asked.model
    elif call.asked is not None or outbound.tongue is not None:  # it is named anew
        return None
    return None if served == asked else ModelName(served, asked)
