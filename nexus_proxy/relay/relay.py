"""Serving one request: plan, try, fail over, and say what went wrong.

Before a backend's first byte reached the client, any fault that is not the caller's moves the
request to the next candidate, then to the fallback chain. Where those that serve the model are
merely busy, the chain comes after a wait for them that was in vain: it may cost money, or push
their model out of memory. After the first byte, a break becomes the dialect's error event. A
request is never sent again to the same backend after a clock ran out: it may still be computing
the first answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import msgspec

from nexus_proxy.admission.keys import Key
from nexus_proxy.admission.limits import Admitted, Limits
from nexus_proxy.admission.queue import Admission, options
from nexus_proxy.backends.base import Fault
from nexus_proxy.config.model import Config
from nexus_proxy.dialects import openai
from nexus_proxy.dialects.foreign import id_headers
from nexus_proxy.errors import GatewayStoppingError, NexusError, UnknownModelError
from nexus_proxy.registry import Registry
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.attempts import Attempts
from nexus_proxy.relay.billing import Billing
from nexus_proxy.relay.call import Call, Envelope
from nexus_proxy.relay.content_log import ContentLog
from nexus_proxy.relay.facts import FactsReader
from nexus_proxy.relay.failing import tell_failure
from nexus_proxy.relay.outcomes import for_people, note_leaving
from nexus_proxy.relay.quoting import without_quotations
from nexus_proxy.relay.responder import Responder
from nexus_proxy.relay.retries import Failure, Retries
from nexus_proxy.relay.running import CANCELLED, RunningRequests
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.refusal import refuse
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import BYTES_PER_TOKEN, Candidate, RequestFacts
from nexus_proxy.state import RequestPhase
from nexus_proxy.telemetry.history import History, Record
from nexus_proxy.telemetry.tracing import Trace

_DONE, _FAILED, _CANCELLED = RequestPhase.DONE, RequestPhase.FAILED, RequestPhase.CANCELLED
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

    `begin_trace`, where traces are wanted, finds a request's place in one by its headers.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        history: History,
        node_id: str,
        limits: Limits,
        billing: Billing,
        admission: Admission,
        reader: FactsReader,
        attempts: Attempts,
        config: Config,
    ) -> None:
        self.registry = registry
        self._history = history
        self._node = (wire_headers.NODE, node_id.encode())
        self.limits, self.billing, self._admission = limits, billing, admission
        self.reader, self.attempts = reader, attempts
        self.running = RunningRequests()
        self.begin_trace: Callable[[Mapping[bytes, bytes]], Trace] | None = None
        self.apply(config)

    def apply(self, config: Config) -> None:
        """Take over a changed configuration, for requests that come from now on."""
        self.rules = Rules(config.routing)
        self._timeouts = config.timeouts
        self._logs_content = config.logging.enable_content_logging
        self.attempts.apply(config.timeouts)

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
            call.content_log = ContentLog()
        self.running.enter(call)
        try:
            try:
                await self._serve(call)
                record.phase, record.status = _DONE, 200
            except ConnectionError:
                raise
            except asyncio.CancelledError:
                if (stopped := self.running.claim(call)) is None:
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
            self.running.leave(call)
            if call.admitted is not None:
                self._settle_limits(call, call.admitted)
            if call.content_log is not None:
                record.said = call.content_log.said(call.body)
            self._history.close(record)

    # -- one request ---------------------------------------------------------------------------

    async def _serve(self, call: Call) -> None:
        record, key = call.record, call.envelope.key
        if not self.billing.is_ready:
            await self.billing.ready()
        facts = self.reader.facts(call, self.rules)
        decisions: list[Decision] = []
        failed: dict[str, Failure] = {}
        in_vain: NexusError | None = None
        for decision in self._plan(facts, key):
            if key is not None and not await self._may_use(
                call, key, decision, first=not decisions
            ):
                continue
            decisions.append(decision)
            record.decision = decision
            record.route_ms = record.route_ms or record.elapsed_ms()
            retries = Retries(
                decision.candidates,
                self.rules.max_attempts,
                allowed=partial(self._still_allowed, decision),
                pause=call.pause,
                loaded_by=time.monotonic() + self._timeouts.load_seconds,
            )
            is_busy = False
            while (candidate := await retries.next()) is not None:
                hold = self._admission.take(candidate)
                if hold is None:
                    retries.pass_over()
                    is_busy = True
                    continue
                with hold:
                    failure = await self.attempts.make(call, decision, candidate, retries.others)
                if failure is None:
                    return
                self._note(call, failure, candidate, failed)
                retries.note(failure)
            if is_busy and in_vain is None:
                in_vain = await self._queue(call, facts, decision, failed)
                if in_vain is None:
                    return
        if in_vain is not None:
            raise in_vain
        if failed:
            raise next(reversed(failed.values())).error
        record.decision = decisions[0]
        raise refuse(decisions)

    async def _queue(
        self, call: Call, facts: RequestFacts, busy: Decision, failed: dict[str, Failure]
    ) -> NexusError | None:
        """Wait for a slot of those that may serve up to the busy decision and have not failed, and
        try again with it. Returns None once the request is answered, else why it was in vain."""
        record, key = call.record, call.envelope.key
        decide = partial(self._offers, facts, key, busy, failed)
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
            except GatewayStoppingError:
                raise
            except NexusError as error:
                return error
            finally:
                waited = (time.perf_counter() - began) * 1000.0
                record.queued_ms = (record.queued_ms or 0.0) + waited
            record.decision = seat.decision
            with seat.hold:
                failure = await self.attempts.make(call, seat.decision, seat.candidate, len(failed))
            if failure is None:
                return None
            self._note(call, failure, seat.candidate, failed)
        return next(reversed(failed.values())).error

    def _offers(
        self, facts: RequestFacts, key: Key | None, busy: Decision, failed: dict[str, Failure]
    ) -> Iterator[tuple[Decision, Candidate]]:
        """Who could serve the request now, as far along the plan as the busy decision, and has not
        failed. Raises why there is nobody."""

        def so_far() -> Iterator[Decision]:
            now = msgspec.structs.replace(facts, now=time.monotonic())
            for decision in self._plan(now, key):
                if key is None or key.allows(decision.resolution.names):
                    yield decision
                if decision.resolution.model == busy.resolution.model:
                    return

        is_left = False
        for decision, candidate in options(so_far()):
            if candidate.backend.name not in failed:
                is_left = True
                yield decision, candidate
        if not is_left:  # and there were some, so all of them have failed
            raise next(reversed(failed.values())).error

    @staticmethod
    def _note(
        call: Call, failure: Failure, candidate: Candidate, failed: dict[str, Failure]
    ) -> None:
        """Remember who failed; raise what no other backend can mend."""
        if call.committed or failure.fault is Fault.CALLER:
            raise failure.error
        failed[candidate.backend.name] = failure

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
