"""Spans of requests that ended, by OpenTelemetry's conventions for HTTP servers and generative AI.

A request has a span as a server, and below it one as a client for each try at a backend, which is
the parent of what the backend traces itself. Only the ids are made while the request runs; the
spans are made of its record, with the rest of the batch. Import it late: it takes a fifth of a
second.
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import cast
from urllib.parse import urlsplit

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Span,
    SpanKind,
    Status,
    StatusCode,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from nexus_proxy import __version__
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.direct import ROUTES
from nexus_proxy.dialects.openai import PATHS, Endpoint
from nexus_proxy.errors import ConfigError
from nexus_proxy.registry import Registry
from nexus_proxy.state import RequestPhase
from nexus_proxy.telemetry.history import ENDED_FROM_OUTSIDE, Attempt, Record
from nexus_proxy.telemetry.tracing import Trace, new_id

FLUSH_SECONDS = 3.0
"""How long the end of the gateway waits for the last spans to leave."""
SERVICE = "nexus"
_PROVIDER = {BackendType.GOOGLE: "gcp.gemini"}
"""Where the conventions have another name than we."""
_CHAT = "chat"
_OPERATION = {
    Endpoint.COMPLETIONS.value: "text_completion",
    Endpoint.OLLAMA_GENERATE.value: "text_completion",
    Endpoint.EMBEDDINGS.value: "embeddings",
    Endpoint.OLLAMA_EMBED.value: "embeddings",
    Endpoint.OLLAMA_EMBEDDINGS.value: "embeddings",
    **{endpoint.value: endpoint.value for endpoint in ROUTES},
}
"""By hot route; all others are `_CHAT`."""
_ROUTE = {endpoint.value: path for endpoint, path in PATHS.items()}
Attributes = dict[str, AttributeValue]

_log = logging.getLogger(__name__)


class Tracer:
    """Begins traces, and is a reader of `History` that ends them."""

    def __init__(
        self, registry: Registry, exporter: SpanExporter, environ: Mapping[str, str]
    ) -> None:
        self._registry = registry
        self._ids = _Planned()
        self._provider = TracerProvider(
            id_generator=self._ids, resource=_resource(environ), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(_Watched(exporter)))
        self._tracer = self._provider.get_tracer(SERVICE, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, headers: Mapping[bytes, bytes]) -> Trace:
        """A place in the caller's trace, or in a new one."""
        carrier = {
            name: headers[name.encode()].decode("latin-1")
            for name in ("traceparent", "tracestate")
            if name.encode() in headers
        }
        parent = self._propagator.extract(carrier, Context())
        caller = get_current_span(parent).get_span_context()
        trace_id = caller.trace_id if caller.is_valid else self._ids.new_trace_id()
        chosen = self._provider.sampler.should_sample(parent, trace_id, "", SpanKind.SERVER)
        return Trace(
            trace_id=trace_id,
            span_id=new_id(),
            flags=int(chosen.decision is Decision.RECORD_AND_SAMPLE),
            state=(chosen.trace_state or caller.trace_state).to_header(),
            parent=parent,
        )

    def __call__(self, ended: Sequence[Record]) -> None:
        """Make the spans of the requests that ended."""
        for record in ended:
            if record.trace is not None and record.trace.flags:
                self._tell(record, record.trace)

    async def stop(self) -> None:
        """Send what is left, for `FLUSH_SECONDS` at most: a collector may hang."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def end() -> None:
            self._provider.shutdown()
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        threading.Thread(target=end, daemon=True, name="last spans").start()
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await done.wait()
        except TimeoutError:
            return  # they are lost, and the exporter has logged why

    def _tell(self, record: Record, trace: Trace) -> None:
        server = self._span(
            f"POST {_ROUTE[record.endpoint]}",
            cast(Context, trace.parent),
            SpanKind.SERVER,
            _of_the_request(record),
            (trace.trace_id, trace.span_id, record.started),
        )
        context = set_span_in_context(server, Context())
        for attempt in record.attempts:
            if attempt.span_id is None:
                continue  # it was never sent
            attributes = self._of_the_attempt(record, attempt)
            name = f"{_OPERATION.get(record.endpoint, _CHAT)} {attempt.model}"
            ids = (trace.trace_id, attempt.span_id, attempt.started)
            span = self._span(name, context, SpanKind.CLIENT, attributes, ids)
            code = None if attempt.code in ENDED_FROM_OUTSIDE else attempt.code
            _end(span, attempt.started, attempt.total_ms, code, attempt.error)
        failed = record.phase is RequestPhase.FAILED
        _end(
            server,
            record.started,
            record.total_ms,
            record.code if failed else None,
            record.error,
            # Of a server's span, the conventions for HTTP take the caller's mistakes for no error.
            is_error=record.status is None or record.status >= 500,
        )

    def _span(
        self,
        name: str,
        context: Context,
        kind: SpanKind,
        attributes: Attributes,
        plan: tuple[int, int, float],
    ) -> Span:
        self._ids.trace_id, self._ids.span_id, started = plan
        return self._tracer.start_span(
            name, context, kind, attributes, start_time=int(started * 1e9)
        )

    def _of_the_attempt(self, record: Record, attempt: Attempt) -> Attributes:
        told: Attributes = {
            "gen_ai.operation.name": _OPERATION.get(record.endpoint, _CHAT),
            "gen_ai.request.model": attempt.model,
            "gen_ai.request.stream": record.stream,
            "nexus.backend": attempt.backend,
        }
        if attempt.backend in self._registry:
            backend = self._registry.get(attempt.backend)
            address = urlsplit(backend.url)
            told["gen_ai.provider.name"] = _PROVIDER.get(backend.type, backend.type.value)
            told["server.address"] = address.hostname or ""
            told["server.port"] = address.port or (443 if address.scheme == "https" else 80)
        if attempt.first_token_ms is not None and record.stream:
            told["gen_ai.response.time_to_first_chunk"] = attempt.first_token_ms / 1000.0
        if attempt is record.attempts[-1]:
            told |= _usage(record)
        return told


class _Planned(IdGenerator):
    """Gives out the ids that were made when the request came in."""

    trace_id = span_id = 1

    def generate_span_id(self) -> int:
        return self.span_id

    def generate_trace_id(self) -> int:
        return self.trace_id

    def is_trace_id_random(self) -> bool:
        return True

    @staticmethod
    def new_trace_id() -> int:
        return new_id() << 64 | new_id()


class _Watched(SpanExporter):
    """An exporter that tells once that nothing arrives, and once that it does again, in place of
    OpenTelemetry's line for each try. Called on a thread of OpenTelemetry."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner, self._is_lost = inner, False
        self._ear = _Ear()
        self._lines = logging.getLogger("opentelemetry.exporter")
        self._lines.addHandler(self._ear)
        self._lines.propagate = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """OpenTelemetry: send a batch."""
        self._ear.heard = ""
        result = self._inner.export(spans)
        is_lost = result is not SpanExportResult.SUCCESS
        if is_lost and not self._is_lost:
            why = self._ear.heard or "it does not say why"
            _log.warning("traces do not arrive, and are lost until they do: %s", why)
        elif self._is_lost and not is_lost:
            _log.info("traces arrive again")
        self._is_lost = is_lost
        return result

    def shutdown(self) -> None:
        """OpenTelemetry: the end."""
        self._inner.shutdown()
        self._lines.removeHandler(self._ear)
        self._lines.propagate = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """OpenTelemetry: send what is left."""
        return self._inner.force_flush(timeout_millis)


class _Ear(logging.Handler):
    """Keeps the first thing that an exporter says of a batch."""

    heard = ""

    def emit(self, record: logging.LogRecord) -> None:
        """logging: one record."""
        self.heard = self.heard or record.getMessage()


def exporter_for(environ: Mapping[str, str]) -> SpanExporter:
    """What `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_OTLP_PROTOCOL` name; else OTLP over HTTP.

    Raises `ConfigError` for one that is not installed.
    """
    variable = "OTEL_TRACES_EXPORTER"
    name = asked = environ.get(variable, "").strip() or "otlp"
    if name == "otlp":
        general = environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "")
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or general
        name = "otlp_proto_grpc" if protocol.strip() == "grpc" else "otlp_proto_http"
    for entry in entry_points(group="opentelemetry_traces_exporter", name=name):
        made: SpanExporter = entry.load()()
        return made
    raise ConfigError(
        f"{asked!r} needs the exporter {name}, which is not installed, so there are no traces",
        file=variable,
        hint="OTLP over HTTP is: leave the variables of the exporter and the protocol out",
    )


def _resource(environ: Mapping[str, str]) -> Resource:
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    own: Attributes = {"service.version": __version__}
    return Resource.create(own if named else {**own, "service.name": SERVICE})


def _of_the_request(record: Record) -> Attributes:
    told: Attributes = {
        "http.request.method": "POST",
        "http.route": _ROUTE[record.endpoint],
        "url.path": _ROUTE[record.endpoint],
        "url.scheme": "http",
        "client.address": record.client,
        "gen_ai.operation.name": _OPERATION.get(record.endpoint, _CHAT),
        "gen_ai.request.model": record.model_asked[:200],
        "nexus.request.id": record.id,
        "nexus.outcome": record.phase.value,
    }
    if record.stream and record.first_token_ms is not None:
        told["http.response.status_code"] = 200  # which had left, however it ended
    elif record.status is not None:
        told["http.response.status_code"] = record.status
    for name, value in (
        ("nexus.key", record.key),
        ("nexus.route.reason", record.route_reason),
        ("nexus.cost.usd", record.cost_usd),
    ):
        if value is not None:
            told[name] = value
    if record.queued_ms is not None:
        told["nexus.queue.wait"] = record.queued_ms / 1000.0
    return told


def _usage(record: Record) -> Attributes:
    told: Attributes = {}
    for name, count in (
        ("gen_ai.usage.input_tokens", record.prompt_tokens),
        ("gen_ai.usage.output_tokens", record.completion_tokens),
        ("gen_ai.usage.cache_read.input_tokens", record.cached_tokens),
        ("gen_ai.usage.reasoning.output_tokens", record.reasoning_tokens),
    ):
        if count is not None:
            told[name] = count
    if record.finish_reason is not None:
        told["gen_ai.response.finish_reasons"] = (record.finish_reason,)
    return told


def _end(
    span: Span,
    started: float,
    total_ms: float | None,
    code: str | None,
    error: str | None,
    *,
    is_error: bool = True,
) -> None:
    if code is not None:
        span.set_attribute("error.type", code)
        if is_error:
            span.set_status(Status(StatusCode.ERROR, error))
    span.end(int(started * 1e9) + int((total_ms or 0.0) * 1e6))
