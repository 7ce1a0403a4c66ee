"""Serving one request: plan, try, fail over, and say what went wrong.

Before a backend's first byte reached the client, any fault that is not the caller's moves the
request to the next candidate, then to the fallback chain. After it, a break becomes the dialect's
error event. A request is never sent again to the same backend after a clock ran out: it may still
be computing the first answer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import cast

import msgspec

from nexus_proxy.accounting.prices import Price, Unpriced
from nexus_proxy.admission.keys import Key
from nexus_proxy.admission.limits import Admitted, Limits
from nexus_proxy.admission.queue import Admission, options
from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Fault
from nexus_proxy.config.model import Config
from nexus_proxy.dialects import direct, openai
from nexus_proxy.dialects.direct import ROUTES
from nexus_proxy.dialects.foreign import id_headers
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import (
    AirplaneError,
    BudgetExceededError,
    ConnectFailedError,
    InvalidRequestError,
    NexusError,
    UnknownModelError,
    UpstreamError,
    UpstreamStatusError,
)
from nexus_proxy.quality.affinity import NO_KEYS, Affinity, Keys
from nexus_proxy.quality.service import Outcome, Quality
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.abroad import put
from nexus_proxy.relay.aloft import Aloft
from nexus_proxy.relay.blame import Blame
from nexus_proxy.relay.call import Call, Envelope
from nexus_proxy.relay.delivery import Delivery
from nexus_proxy.relay.endings import NO_PACE, Pace, for_people, note_leaving, pace_of, why_it_ended
from nexus_proxy.relay.failing import tell_failure
from nexus_proxy.relay.heard import Heard
from nexus_proxy.relay.line import Lines
from nexus_proxy.relay.outbound import Outbound
from nexus_proxy.relay.patience import Patience, Watch
from nexus_proxy.relay.quoting import without_quotations
from nexus_proxy.relay.responder import Responder
from nexus_proxy.relay.secrecy import Secret
from nexus_proxy.relay.tap import ModelName
from nexus_proxy.relay.till import Till
from nexus_proxy.relay.translating import translate
from nexus_proxy.relay.tries import Failure, Tries
from nexus_proxy.relay.underway import CANCELLED, Underway
from nexus_proxy.relay.upstream import Exchange, Pools
from nexus_proxy.routing.airplane import is_away
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.refusal import refuse
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.timing import EACH
from nexus_proxy.routing.types import BYTES_PER_TOKEN, Candidate, RequestFacts, Stage
from nexus_proxy.state import BackendState, RequestPhase
from nexus_proxy.telemetry.history import Attempt, History, Record
from nexus_proxy.telemetry.tracing import Trace

_WAITING, _DONE, _FAILED = RequestPhase.WAITING, RequestPhase.DONE, RequestPhase.FAILED
_CANCELLED, _EMBEDDINGS = RequestPhase.CANCELLED, openai.Endpoint.EMBEDDINGS
_LOADING = BackendState.LOADING
_SERVED = Outcome.SERVED
NO_SUCH_PATH = (404, 405, 501)
_NOTHING_ASKED = openai.RequestPeek(
    model="?",
    stream=False,
    wants_usage=False,
    wants_base64=False,
    prompt_bytes=0,
    needs=frozenset(),
)


class Relay:
    """Serves hot requests. Knows no HTTP server: it reads an `Envelope` and a body, and writes a
    `Responder`.

    `suspect(name)` asks the health checker to look at a backend soon, `compare(model)` to compare
    the vectors of those that embed with a model; `begin_trace`, where traces are wanted, finds a
    request's place in one by its headers; `timed_stages` route some of them.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        history: History,
        node_id: str,
        environ: Mapping[str, str],
        get_config: Callable[[], Config],
        suspect: Callable[[str], None],
        compare: Callable[[str], None],
        quality: Quality,
        limits: Limits,
        till: Till,
        admission: Admission,
        aloft: Aloft,
    ) -> None:
        self.registry = registry
        self._history = history
        self._node = (wire_headers.NODE, node_id.encode())
        self._environ = environ
        self._blame, self._compare = Blame(registry, suspect), compare
        self._watch = Watch()
        self._quality, self._affinity = quality, Affinity()
        self.limits, self.till, self._admission = limits, till, admission
        self.aloft = aloft
        self.underway = Underway()
        self._turn = 0
        self.pools = Pools(environ)
        self.timed_stages: tuple[Stage, ...] | None = None
        self.begin_trace: Callable[[Mapping[bytes, bytes]], Trace] | None = None
        self.apply(get_config())

    def apply(self, config: Config) -> None:
        """Take over a changed configuration, for requests that come from now on."""
        self.rules = Rules(config.routing)
        self._timeouts = config.timeouts
        self._logs_content = config.logging.enable_content_logging
        self.lines = Lines(self.pools, config.timeouts)

    async def serve(
        self, envelope: Envelope, body: bytes, client: str, responder: Responder
    ) -> None:
        """Answer one request, with an error if it must be. Cancelling it means: the client left."""
        record = Record(
            envelope.request_id or wire_headers.new_id(),
            envelope.endpoint_name,
            client,
            time.time(),
            time.perf_counter(),
        )
        if self.begin_trace is not None:
            record.trace = self.begin_trace(envelope.headers)
        self._history.open(record)
        base = [(b"x-request-id", record.id.encode()), self._node, *envelope.answer_headers]
        if envelope.dialect is not None:
            base += id_headers(envelope.dialect, record.id.encode())
        call = Call(
            envelope,
            body,
            responder,
            record,
            _NOTHING_ASKED,
            self._history,
            base,
            time.monotonic(),
            envelope.endpoint,
        )
        if self._logs_content:
            call.heard = Heard()
        self.underway.enter(call)
        try:
            try:
                await self._serve(call)
                record.phase, record.status = _DONE, 200
            except ConnectionError:
                raise
            except asyncio.CancelledError:
                if (stopped := self.underway.claim(call)) is None:
                    raise
                record.phase, record.error, record.code = _CANCELLED, CANCELLED, stopped.code
                await tell_failure(stopped, call)
            except Exception as error:  # noqa: BLE001 - a bug may cost this request, no more
                failure = for_people(error, record)
                record.phase, record.code = _FAILED, failure.code
                model = call.peek.model
                record.error = without_quotations(failure.message, call.body, but=model)
                await tell_failure(failure, call)
        except asyncio.CancelledError:
            note_leaving(record)
            raise
        except ConnectionError:
            note_leaving(record)
        finally:
            self.underway.leave(call)
            if call.admitted is not None:
                self._settle_limits(call, call.admitted)
            if call.heard is not None:
                record.said = call.heard.said(call.body)
            self._history.close(record)

    # -- one request ---------------------------------------------------------------------------

    async def _serve(self, call: Call) -> None:
        record, key = call.record, call.envelope.key
        if not self.till.is_ready:
            await self.till.ready()
        facts = self._facts(call)
        decisions: list[Decision] = []
        failed: dict[str, Failure] = {}
        is_busy = False
        for decision in self._plan(facts, key):
            if key is not None and not await self._may_use(
                call, key, decision, first=not decisions
            ):
                continue
            decisions.append(decision)
            record.decision = decision
            record.route_ms = record.route_ms or record.elapsed_ms()
            tries = Tries(
                decision.candidates,
                self.rules.max_attempts,
                allowed=partial(self._still_allowed, decision),
                pause=call.pause,
                loaded_by=time.monotonic() + self._timeouts.load_seconds,
            )
            while (candidate := await tries.next()) is not None:
                hold = self._admission.take(candidate)
                if hold is None:
                    tries.pass_over()
                    is_busy = True
                    continue
                with hold:
                    failure = await self._attempt(call, decision, candidate, tries.others)
                if failure is None:
                    return
                self._note(call, failure, candidate, failed)
                tries.note(failure)
        if is_busy:
            await self._queue(call, facts, failed)
            return
        if failed:
            raise next(reversed(failed.values())).error
        record.decision = decisions[0]
        raise refuse(decisions)

    async def _queue(self, call: Call, facts: RequestFacts, failed: dict[str, Failure]) -> None:
        """Wait for a slot of those that are busy and have not failed, and try again with it."""
        record, key = call.record, call.envelope.key

        def decide() -> Iterator[tuple[Decision, Candidate]]:
            now = msgspec.structs.replace(facts, now=time.monotonic())
            plans = self._plan(now, key)
            allowed = (d for d in plans if key is None or key.allows(d.resolution.names))
            is_left = False
            for decision, candidate in options(allowed):
                if candidate.backend.name not in failed:
                    is_left = True
                    yield decision, candidate
            if not is_left:  # and there were some, so all of them have failed
                raise next(reversed(failed.values())).error

        for _ in range(self.rules.max_attempts):
            began, record.phase = time.perf_counter(), RequestPhase.QUEUED
            self._history.progressed(record)
            try:
                seat = await self._admission.wait(
                    decide,
                    id=record.id,
                    model=call.peek.model,
                    priority=call.envelope.priority,
                    pulse=call.sign_of_life if call.peek.stream else None,
                )
            finally:
                waited = (time.perf_counter() - began) * 1000.0
                record.queued_ms = (record.queued_ms or 0.0) + waited
            record.decision = seat.decision
            with seat.hold:
                failure = await self._attempt(call, seat.decision, seat.candidate, len(failed))
            if failure is None:
                return
            self._note(call, failure, seat.candidate, failed)
        raise next(reversed(failed.values())).error

    @staticmethod
    def _note(
        call: Call, failure: Failure, candidate: Candidate, failed: dict[str, Failure]
    ) -> None:
        """Remember who failed; raise what no other backend can mend."""
        if call.committed or failure.fault is Fault.CALLER:
            raise failure.error
        failed[candidate.backend.name] = failure

    def _facts(self, call: Call) -> RequestFacts:
        """What routing needs of the request. Raises `NexusError` where it cannot be read."""
        envelope, record = call.envelope, call.record
        wishes = envelope.wishes
        if wishes is None or envelope.problem is not None:
            raise envelope.problem or NexusError("the request's headers cannot be read")
        if envelope.key is not None:
            record.key = envelope.key.name
        if envelope.dialect is not None:
            translate(
                call,
                envelope.dialect,
                may_go_as_it_is=self._speaks(call.endpoint),
                stabilise=self.rules.stabilise_prompts,
            )
        elif call.endpoint in ROUTES:
            content_type = envelope.headers.get(b"content-type", b"")
            call.peek = direct.peek(call.endpoint, call.body, content_type)
        else:
            call.peek = openai.peek(call.endpoint, call.body)
        peek = call.peek
        record.model_asked, record.stream = peek.model, peek.stream
        self._turn += 1
        home = None
        if len(self.registry) > 1:
            call.keys = self._keys(envelope, peek)
            home = self._affinity.preferred(call.keys)
        return RequestFacts(
            model_asked=peek.model,
            needs=peek.needs,
            prompt_bytes=peek.prompt_bytes,
            zone=wishes.zone if envelope.key is None else max(wishes.zone, envelope.key.zone),
            strict=wishes.strict,
            flexible=wishes.flexible,
            affinity=home,
            purse=self.till.purse(call, has_limits=self.rules.has_cost_limits),
            turn=self._turn,
            now=call.clock,
            luck=random.random,
            stages=None if self._turn % EACH else self.timed_stages,
            reads_apart=peek.reads_apart,
            route=peek.route,
            embeds=call.endpoint is _EMBEDDINGS,
        )

    def _speaks(self, endpoint: Endpoint) -> bool:
        """Whether there is a backend that takes a dialect as it is."""
        return any(endpoint in adapter_for(one.type).native for one in self.registry)

    def _keys(self, envelope: Envelope, peek: openai.RequestPeek) -> Keys:
        """By what the request's conversation is known."""
        if envelope.session is not None:
            return self._affinity.session_keys(envelope.session, peek.model)
        return self._affinity.message_keys(peek.messages, peek.model)

    def _plan(self, facts: RequestFacts, key: Key | None) -> Iterator[Decision]:
        """See `routing.pipeline.plan`. What an API key is not for is refused, there or not."""
        try:
            yield from plan(facts, self.registry, self.rules)
        except UnknownModelError:
            if key is not None:
                key.require(facts.model_asked, (facts.model_asked,))
            raise

    async def _may_use(self, call: Call, key: Key, decision: Decision, *, first: bool) -> bool:
        """Whether an API key may have the decision's model. For the model that was asked for: take
        the request off the key's limits. Raises `ModelNotAllowedError` and `RateLimitedError`."""
        if not first:
            return key.allows(decision.resolution.names)
        key.require(call.peek.model, decision.resolution.names)
        tokens = decision.facts.prompt_tokens + (call.peek.max_tokens or 0)
        call.admitted = await self.limits.admit_everywhere(key, tokens)
        call.base_headers += self.limits.headers(key)
        return True

    def _settle_limits(self, call: Call, admitted: Admitted) -> None:
        """Put right what was taken off the API key's limits, by what the request used."""
        key, record = call.envelope.key, call.record
        assert key is not None, "only a request with a key is admitted"
        if record.completion_tokens is not None:
            prompt = call.peek.prompt_bytes // BYTES_PER_TOKEN
            used = prompt if record.prompt_tokens is None else record.prompt_tokens
            self.limits.settle(key, admitted, used + record.completion_tokens)
        elif record.phase is _FAILED:
            self.limits.settle(key, admitted, 0)

    def _still_allowed(self, decision: Decision, candidate: Candidate) -> bool:
        """A decision may be minutes old when its second choice is due."""
        name = candidate.backend.name
        is_listed = name in self.registry and self.registry.get(name) is candidate.backend
        return is_listed and decision.still_allows(candidate)

    async def _attempt(
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
        price = self.till.price(backend, candidate.model, served_id)
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
            return await self._attempt(call, decision, candidate, others)
        if call.keys is not NO_KEYS:
            self._affinity.note(call.keys, backend, model)
        self.registry.learn(backend, model, *pace)
        if record.truncated is not None:
            self.registry.note_truncation(backend, model, record.truncated)
        return None

    def _begin(self, decision: Decision, backend: Backend, model: str) -> None:
        self._quality.begin(backend, model)
        if decision.facts.embeds:
            self._compare(decision.resolution.model)
            self.registry.embeds(backend, model, decision.resolution.path)

    def _end(
        self, decision: Decision, backend: Backend, model: str, outcome: Outcome, pace: Pace
    ) -> None:
        self._quality.note(backend, model, outcome, *pace)
        if decision.facts.embeds:
            path, served = decision.resolution.path, outcome is _SERVED
            self.registry.embedded(backend, path, served=served)

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
        with await self.till.open(call, backend, price) as bill:
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
