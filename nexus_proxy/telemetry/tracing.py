"""Traces by OpenTelemetry, an optional extra: whether they are wanted, and where a request stands.

Nothing of OpenTelemetry is imported here. What is wanted is said by its standard variables alone.
"""

from __future__ import annotations

import asyncio
import importlib
import re
import shlex
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from random import getrandbits
from typing import TYPE_CHECKING

from msgspec import Struct

from nexus_proxy.errors import ConfigError

if TYPE_CHECKING:
    from nexus_proxy.registry import Registry
    from nexus_proxy.telemetry.spans import Tracer

PACKAGES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
"""What the extra `otel` brings."""
_ASKING = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
_LINES = re.compile(rb"(?m)^trace(?:parent|state): .*\r\n")


class Trace(Struct):
    """A request's place in a trace: ids as W3C Trace Context has them. `parent` is OpenTelemetry's
    context of the caller; `flags` say whether the trace is kept."""

    trace_id: int
    span_id: int
    flags: int
    state: str
    parent: object

    def onward(self, passed_on: bytes, span_id: int) -> bytes:
        """Lines of an upstream's head, with the span that the upstream is a child of."""
        lines = b"traceparent: 00-%032x-%016x-%02x\r\n" % (self.trace_id, span_id, self.flags)
        if self.state:
            lines += b"tracestate: %b\r\n" % self.state.encode()
        return _LINES.sub(b"", passed_on) + lines


def new_id() -> int:
    """The id of a span: 64 random bits, not all of them zero."""
    return getrandbits(64) or 1


def asked_for(environ: Mapping[str, str]) -> str | None:
    """The variable that asks for traces; None: none are wanted."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return None
    return next((name for name in _ASKING if environ.get(name, "").strip()), None)


def missing(asked: str) -> str | None:
    """Why there are no traces although a variable asks for them, and the command that helps."""
    try:
        if all(find_spec(name) for name in ("opentelemetry.sdk", "opentelemetry.exporter")):
            return None
    except ModuleNotFoundError:
        pass
    installer = [sys.executable, "-m", "pip", "install"]
    if find_spec("pip") is None:
        installer = ["uv", "pip", "install", "--python", sys.executable]
    return (
        f"{asked} asks for traces, but OpenTelemetry is not installed here, so there are none; "
        f"`{shlex.join([*installer, *PACKAGES])}` brings it"
    )


async def make_tracer(asked: str, registry: Registry, environ: Mapping[str, str]) -> Tracer | str:
    """What makes the spans that the variable `asked` asks for, or why nothing can."""
    if (problem := missing(asked)) is not None:
        return problem
    spans = await asyncio.to_thread(importlib.import_module, "nexus_proxy.telemetry.spans")
    try:
        tracer: Tracer = spans.Tracer(registry, spans.exporter_for(environ), environ)
    except ConfigError as error:
        return error.message
    return tracer
