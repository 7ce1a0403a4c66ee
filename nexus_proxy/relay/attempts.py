"""Serving one request: plan, try, fail over, and say what went wrong.

Before a backend's first byte reached the client, any fault that is not the caller's moves the
request to the next candidate, then to the fallback chain. After it, a break becomes the dialect's
error event. A request is never sent again to the same backend after a clock ran out: it may still
be computing the first answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from nexus_proxy.admission import slots
from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Adapter, Fault, Target
from nexus_proxy.config.model import Config, TimeoutsConfig
from nexus_proxy.dialects import openai
from nexus_proxy.errors import (
    ClockError,
    ConnectFailedError,
    NexusError,
    UpstreamError,
    UpstreamStatusError,
)
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.relay.call import Call, Inbound
from nexus_proxy.relay.delivery import Delivery
from nexus_proxy.relay.failing import tell_failure
from nexus_proxy.relay.outbound import Outbound
from nexus_proxy.relay.patience import AskHost, Clocks, Patience
from nexus_proxy.relay.probe import host_answers
from nexus_proxy.relay.responder import Responder
from nexus_proxy.relay.secrecy import Secret
from nexus_proxy.relay.tap import ModelName
from nexus_proxy.relay.tries import Failure, Tries
from nexus_proxy.relay.upstream import Exchange, Pool, Pools
from nexus_proxy.routing.pipeline import Decision, plan
from nexus_proxy.routing.refusal import refuse
from nexus_proxy.routing.rules import Rules
from nexus_proxy.routing.types import Candidate, RequestFacts
from nexus_proxy.state import BackendState, RequestPhase
from nexus_proxy.telemetry.history import Attempt, History, Record

log = logging.getLogger(__name__)

FIRST_TOKEN_LOCAL, FIRST_TOKEN_CLOUD = 600.0, 120.0
LONGEST_BUSY = 300.0
CROWDED_FACTOR = 4


class Relay:
    """Serves hot requests. Knows no HTTP server: it reads an `Inbound` and writes a `Responder`.

    `suspect(name)` asks the health checker to look at a backend soon.
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
    ) -> None:
        self._registry = registry
        self._history = history
        self._node_id = node_id
        self._environ = environ
        self._get_config = get_config
        self._suspect = suspect
        self._turn = 0
        self.pools = Pools(environ)
        self.apply(get_config())

    def apply(self, config: Config) -> None:
        """Take over a changed configuration, for requests that come from now on."""
        self.rules = Rules(config.routing)
        self._timeouts = config.timeouts

    async def serve(self, inbound: Inbound, responder: Responder) -> None:
        """Answer one request, with an error if it must be. Cancelling it means: the client left."""
        record = Record(
            id=wire_headers.request_id(inbound.headers),
            endpoint=inbound.endpoint.value,
            client=inbound.client,
        )
        self._history.open(record)
        base = [
            (b"x-request-id", record.id.encode()),
            (wire_headers.NODE, self._node_id.encode()),
            *inbound.extra_headers,
        ]
        call: Call | None = None
        try:
            try:
                call = self._accept(inbound, responder, record, base)
                await self._serve(call)
                record.phase, record.status = RequestPhase.DONE, 200
            except ConnectionError:
                raise
            except Exception as error:  # noqa: BLE001 - a bug may cost this request, no more
                failure = _for_people(error, record)
                record.phase, record.error = RequestPhase.FAILED, failure.message
                await tell_failure(
                    failure,
                    responder,
                    record,
                    endpoint=inbound.endpoint,
                    headers=call.headers() if call else base,
                    told=call is not None and call.told,
                )
        except asyncio.CancelledError:
            _note_leaving(record)
            raise
        except ConnectionError:
            _note_leaving(record)
        finally:
            self._history.close(record)

    def facts(self, peek: openai.RequestPeek, wishes: wire_headers.Wishes) -> RequestFacts:
        """What routing needs of a request."""
        self._turn += 1
        return RequestFacts(
            model_asked=peek.model,
            needs=peek.needs,
            prompt_bytes=peek.prompt_bytes,
            zone=wishes.zone,
            strict=wishes.strict,
            flexible=wishes.flexible,
            turn=self._turn,
            now=time.monotonic(),
            luck=random.random,
        )

    # -- one request ---------------------------------------------------------------------------

    def _accept(
        self,
        inbound: Inbound,
        responder: Responder,
        record: Record,
        base: wire_headers.HeaderList,
    ) -> Call:
        hops = wire_headers.check_hops(inbound.headers, self._node_id)
        peek = openai.peek(inbound.endpoint, inbound.body)
        record.model_asked, record.stream = peek.model, peek.stream
        return Call(
            inbound=inbound,
            responder=responder,
            record=record,
            peek=peek,
            wishes=wire_headers.read_wishes(inbound.headers),
            hops=hops,
            base_headers=base,
            progressed=lambda: self._history.progressed(record),
        )

    async def _serve(self, call: Call) -> None:
        facts = self.facts(call.peek, call.wishes)
        decisions: list[Decision] = []
        last: Failure | None = None
        for decision in plan(facts, self._registry, self.rules):
            decisions.append(decision)
            call.record.decision = decision
            call.record.route_ms = call.record.route_ms or call.record.elapsed_ms()
            tries = Tries(
                decision.candidates,
                self.rules.max_attempts,
                allowed=partial(self._still_allowed, decision),
                pause=call.pause,
                load_seconds=self._timeouts.load_seconds,
            )
            async for candidate, others in tries:
                failure = await self._attempt(call, decision, candidate, others)
                if failure is None:
                    return
                last = failure
                if call.committed or failure.fault is Fault.CALLER:
                    raise failure.error
                tries.note(failure)
        if last is not None:
            raise last.error
        call.record.decision = decisions[0]
        raise refuse(decisions)

    def _still_allowed(self, decision: Decision, candidate: Candidate) -> bool:
        """A decision may be minutes old when its second choice is due."""
        name = candidate.backend.name
        is_listed = name in self._registry and self._registry.get(name) is candidate.backend
        return is_listed and decision.still_allows(candidate)

    async def _attempt(
        self, call: Call, decision: Decision, candidate: Candidate, others: int
    ) -> Failure | None:
        """Try one backend, after `others` failed. None: it answered."""
        backend = cast(Backend, candidate.backend)
        record = call.record
        attempt = Attempt(backend=backend.name, model=candidate.served_id)
        record.attempts.append(attempt)
        record.backend, record.model = backend.name, candidate.served_id
        record.phase = RequestPhase.WAITING
        record.route_reason = decision.route_reason(candidate, others)
        call.route_headers = _route_headers(record, backend, candidate, decision)
        self._history.progressed(record)
        with slots.hold(backend):
            try:
                await self._exchange(call, backend, candidate, attempt)
            except UpstreamError as error:
                attempt.error = error.message
                fault = self._blame(error, backend, candidate)
                if fault is Fault.LOADING:
                    record.forget_repeats()
                return Failure(self._reworded(error, fault), fault)
            except asyncio.CancelledError:
                attempt.error = "the client left"
                raise
            finally:
                attempt.total_ms = attempt.elapsed_ms()
        self._learn(call, backend, candidate, attempt)
        return None

    async def _exchange(
        self, call: Call, backend: Backend, candidate: Candidate, attempt: Attempt
    ) -> None:
        adapter, traits = adapter_for(backend.type), backend.traits
        outbound = Outbound(call, adapter, traits, candidate.served_id)
        pool = self.pools.of(
            backend.name,
            backend.url,
            idle_seconds=traits.idle_reuse_seconds,
            is_cloud=traits.is_cloud,
        )
        clocks = _clocks(self._timeouts, is_cloud=traits.is_cloud)
        target = self._target(backend)
        request = outbound.request(pool, target)
        async with Exchange(pool, request, connect_seconds=clocks.connect_seconds) as exchange:
            attempt.connect_ms = attempt.elapsed_ms()
            exchange.may_reuse = traits.reuse_after_stream or not outbound.streams
            with Patience(
                exchange,
                clocks,
                backend=backend.name,
                loading=backend.health is BackendState.LOADING or candidate.model.loaded is False,
                ask_host=_ask_host(backend, adapter, pool),
            ) as patience:
                delivery = Delivery(
                    call,
                    exchange,
                    patience,
                    attempt,
                    secret=Secret(target.api_key),
                    rename=_rename(candidate.served_id, call.peek.model),
                    strip_usage=outbound.strip_usage,
                )
                head = await delivery.head()
                _time_headers(call, attempt)
                if head.status != 200:
                    raise await delivery.failure(head)
                if outbound.aggregates:
                    await delivery.aggregate(head)
                elif outbound.streams:
                    await delivery.stream(head)
                else:
                    await delivery.whole(head)

    def _target(self, backend: Backend) -> Target:
        variable = backend.api_key_env
        key = self._environ.get(variable, "").strip() if variable else ""
        if not key.isprintable():
            raise ConnectFailedError(
                f"the key of {backend.name} holds characters that HTTP cannot carry ({variable})",
                backend=backend.name,
            )
        return Target(base_url=backend.url, api_key=key or None)

    # -- what an attempt teaches ---------------------------------------------------------------

    def _blame(self, error: UpstreamError, backend: Backend, candidate: Candidate) -> Fault:
        """Whose fault it was; tells the registry what it means for the backend."""
        fault = Fault.BACKEND
        if isinstance(error, UpstreamStatusError):
            body = openai.as_object(error.body)
            text = error.body[:4096].decode("utf-8", "replace")
            fault = adapter_for(backend.type).classify(error.upstream_status, body, text)
        if fault in (Fault.CALLER, Fault.CONTEXT_OVERFLOW) or backend.name not in self._registry:
            return fault
        if isinstance(error, ConnectFailedError) or (
            isinstance(error, ClockError) and error.code == "upstream_silent"
        ):
            self._registry.mark(backend.name, BackendState.DOWN, error.message)
        if isinstance(error, UpstreamStatusError) and error.retry_after:
            wait = min(error.retry_after, LONGEST_BUSY)
            backend.busy_until = time.monotonic() + wait
        if fault is Fault.MODEL_MISSING:
            self._registry.forget_model(backend, candidate.model.id)
        if fault in (Fault.BUSY, Fault.UNSUPPORTED):
            return fault
        if fault is not Fault.LOADING:
            self._registry.note_error(backend, error.message)
        self._suspect(backend.name)
        return fault

    def _reworded(self, error: UpstreamError, fault: Fault) -> UpstreamError:
        if fault is Fault.CONTEXT_OVERFLOW and isinstance(error, UpstreamStatusError):
            said = openai.error_sentence(error.body) or "the prompt is too long for its context"
            return UpstreamStatusError(
                said,
                backend=error.backend,
                upstream_status=400,
                body=openai.overflow_body(said),
            )
        return error

    def _learn(self, call: Call, backend: Backend, candidate: Candidate, attempt: Attempt) -> None:
        if attempt.first_token_ms is None or not call.peek.stream:
            return
        self._registry.note_first_token(backend, candidate.model.id, attempt.first_token_ms)
        tokens = call.record.completion_tokens or 0
        generating = attempt.elapsed_ms() - attempt.first_token_ms
        if tokens > 1 and generating > 0:
            self._registry.note_rate(backend, (tokens - 1) / generating * 1000.0)


def _for_people(error: Exception, record: Record) -> NexusError:
    if isinstance(error, NexusError):
        return error
    log.error("request %s met a bug", record.id, exc_info=error)
    return NexusError("the gateway failed on this request; its log says why")


def _note_leaving(record: Record) -> None:
    if record.phase is not RequestPhase.FAILED:
        record.phase, record.error = RequestPhase.CANCELLED, "the client left"


def _ask_host(backend: Backend, adapter: Adapter, pool: Pool) -> AskHost | None:
    if backend.traits.is_cloud:
        return None
    # llama.cpp was seen to stop answering its health path once all HTTP threads hold requests.
    crowded = backend.in_flight > CROWDED_FACTOR * (backend.slots or 1)
    answers = backend.answers_while_busy and not crowded
    return lambda: host_answers(pool, pool.prefix + adapter.health_path if answers else None)


def _rename(served: str, asked: str) -> ModelName | None:
    return None if served == asked else ModelName(served, asked)


def _clocks(timeouts: TimeoutsConfig, *, is_cloud: bool) -> Clocks:
    default = FIRST_TOKEN_CLOUD if is_cloud else FIRST_TOKEN_LOCAL
    return Clocks(
        connect_seconds=timeouts.connect_seconds,
        first_token_seconds=timeouts.first_token_seconds or default,
        idle_seconds=timeouts.idle_seconds,
        total_seconds=timeouts.total_seconds,
        load_seconds=max(timeouts.load_seconds, timeouts.first_token_seconds or default),
    )


def _route_headers(
    record: Record, backend: Backend, candidate: Candidate, decision: Decision
) -> wire_headers.HeaderList:
    text = wire_headers.header_text
    headers = [
        (b"x-nexus-backend", text(backend.name)),
        (b"x-nexus-backend-type", b"cloud" if backend.traits.is_cloud else b"local"),
        (b"x-nexus-route-reason", text(record.route_reason or "")),
        (b"x-nexus-privacy-zone", candidate.zone.label.encode()),
        (b"x-nexus-model", text(candidate.served_id)),
    ]
    if decision.is_fallback:
        headers.append((b"x-nexus-fallback-model", text(candidate.served_id)))
    return headers


def _time_headers(call: Call, attempt: Attempt) -> None:
    timing = f"route;dur={call.record.route_ms or 0:.2f}, upstream;dur={attempt.elapsed_ms():.1f}"
    call.route_headers.append((b"server-timing", timing.encode()))
