"""Traces over the wire: a collector on loopback, and what callers and backends get of a context."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.contract.hot.asking import CHAT, body_for, post
from tests.contract.telemetry.mixed import ANSWER, PROMPT, PROVIDER, SECRET, mixed
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import Exchange, ScriptedBackend, faults, gemini
from tests.support.scripted.gemini import Generated

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"


class Collector:
    """An OTLP/HTTP receiver."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.status = 200
        self.server = ScriptedBackend(routes={"/v1/traces": self})

    async def __call__(self, exchange: Exchange) -> None:
        self.raw.append(exchange.request.body)
        await exchange.respond(self.status, b"", "application/x-protobuf")

    def has(self, number: int) -> bool:
        """Whether so many batches came."""
        return len(self.raw) >= number

    def spans(self) -> Iterator[dict[str, Any]]:
        """All that came, with ids as hex and attributes as values."""
        for body in self.raw:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                about = attributes(resource.resource.attributes)
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield {
                            "name": span.name,
                            "trace": span.trace_id.hex(),
                            "id": span.span_id.hex(),
                            "parent": span.parent_span_id.hex(),
                            "kind": span.kind,
                            "ns": span.end_time_unix_nano - span.start_time_unix_nano,
                            "is_error": span.status.code == 2,
                            "resource": about,
                            **attributes(span.attributes),
                        }


def attributes(pairs: Any) -> dict[str, Any]:
    found = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind)
        if kind == "array_value":
            value = [item.string_value for item in value.values]
        found[pair.key] = value
    return found


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    collector = Collector()
    async with collector.server as server:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.url)
        yield collector
        assert server.requests


def environ(**more: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", **more}


async def test_a_request_is_a_child_of_its_caller_and_the_backend_of_its_try(
    collector: Collector,
) -> None:
    async with (
        ScriptedBackend(["m"], name="one") as one,
        ScriptedBackend(["m"], name="two") as two,
        running_gateway(
            [backend_entry("one", one.url, priority=1), backend_entry("two", two.url)],
            routing={"strategy": "priority_only"},
            environ=environ(),
        ) as gateway,
    ):
        one.behave(faults.status(500), times=1)
        headers = {"traceparent": TRACEPARENT, "tracestate": "vendor=1", "x-request-id": "mine"}
        answer = await post(gateway, body_for(CHAT, stream=True), headers=headers)
        assert answer.status_code == 200
        sent = [b.generations[0] for b in (one, two)]
    spans = {span["id"]: span for span in collector.spans()}
    (server,) = (span for span in spans.values() if span["kind"] == 2)
    assert (server["trace"], server["parent"]) == (TRACE, CALLER)
    assert server["name"] == "POST /v1/chat/completions"
    assert server["nexus.request.id"] == "mine"
    assert server["http.response.status_code"] == 200
    assert server["nexus.route.reason"] == "failover"
    assert server["resource"]["service.name"] == "nexus"
    for request, name in zip(sent, ("one", "two"), strict=True):
        assert request.header("tracestate") == "vendor=1"
        lines = [value for key, value in request.headers if key.lower() == "traceparent"]
        (context,) = lines
        trace, span_id, flags = re.fullmatch(r"00-(\w+)-(\w+)-(\w+)", context).groups()  # type: ignore[union-attr]
        span = spans[span_id]
        assert (trace, flags) == (TRACE, "01")
        assert (span["trace"], span["parent"], span["kind"]) == (TRACE, server["id"], 3)
        assert (span["name"], span["nexus.backend"]) == ("chat m", name)
        assert span["gen_ai.operation.name"] == "chat"
        assert span["server.address"] == "127.0.0.1"
        assert 0 < span["ns"] <= server["ns"]
        assert span["is_error"] is (name == "one")
        if name == "one":
            assert span["error.type"] == "upstream_error"
            assert "gen_ai.usage.output_tokens" not in span
        else:
            assert span["gen_ai.usage.input_tokens"] == 7
            assert span["gen_ai.usage.output_tokens"] == 4
            assert span["gen_ai.response.finish_reasons"] == ["stop"]
            assert span["gen_ai.response.time_to_first_chunk"] > 0


@pytest.mark.parametrize(("kind", "provider"), [("openai", "openai"), ("google", "gcp.gemini")])
async def test_a_provider_has_the_name_that_the_conventions_give_it(
    collector: Collector, kind: str, provider: str
) -> None:
    lists = {"/v1beta/models": {"models": [gemini.model("m")]}}
    async with (
        ScriptedBackend(["m"], routes=lists) as cloud,
        running_gateway(
            [backend_entry("cloud", cloud.url, type=kind, api_key_env="KEY")],
            environ=environ(KEY="sk-0123456789"),
        ) as gateway,
    ):
        if kind == "google":
            cloud.behave(Generated())
        assert (await post(gateway, body_for(CHAT))).status_code == 200
    (tried,) = (span for span in collector.spans() if span["kind"] == 3)
    assert tried["gen_ai.provider.name"] == provider


async def test_all_of_a_mixed_load_is_traced_and_nothing_that_was_said(
    collector: Collector,
) -> None:
    async with mixed(more_environ=environ()) as load:
        await load.load()
        views = load.gateway.runtime.history.newest(1000)
    spans = list(collector.spans())
    servers = [span for span in spans if span["kind"] == 2]
    assert sorted(s["nexus.request.id"] for s in servers) == sorted(v.id for v in views)
    assert len({span["trace"] for span in servers}) == len(views)
    assert len(spans) - len(servers) == sum(len(view.attempts) for view in views)
    # A stream that was cut had begun with 200; a server's span is not in error for a 4xx.
    assert sorted(
        (s["http.response.status_code"], s["error.type"], s["is_error"])
        for s in servers
        if "error.type" in s
    ) == [
        (200, "upstream_cut", True),
        (400, "upstream_error", False),
        (404, "model_not_found", False),
    ]
    whole = b"".join(collector.raw)
    for canary in (PROMPT, ANSWER, SECRET, PROVIDER):
        assert canary.encode() not in whole


async def test_what_the_caller_does_not_sample_is_not_told_and_stays_so(
    collector: Collector,
) -> None:
    async with (
        ScriptedBackend(["m"], name="one") as one,
        running_gateway([backend_entry("one", one.url)], environ=environ()) as gateway,
    ):
        for parent in (f"00-{TRACE}-{CALLER}-00", "nonsense"):
            assert (await post(gateway, body_for(CHAT), headers={"traceparent": parent})).is_success
        unsampled, fresh = (request.header("traceparent") or "" for request in one.generations)
    assert unsampled.startswith(f"00-{TRACE}-")
    assert unsampled.endswith("-00")
    assert CALLER not in unsampled
    (trace,) = {span["trace"] for span in collector.spans()}
    assert fresh.startswith(f"00-{trace}-")
    assert trace != TRACE


async def test_a_collector_that_hangs_holds_up_no_request_and_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with (
        ScriptedBackend(routes={"/v1/traces": faults.hang}) as dead,
        ScriptedBackend(["m"], name="one") as one,
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", dead.url)
        monkeypatch.setattr("nexus_proxy.telemetry.spans.FLUSH_SECONDS", 0.2)
        async with asyncio.timeout(20):
            entries = [backend_entry("one", one.url)]
            async with running_gateway(entries, environ=environ()) as gateway:
                assert (await post(gateway, body_for(CHAT))).status_code == 200
        await dead.until(lambda: len(dead.requests) > 0)


async def test_a_collector_that_takes_nothing_is_told_of_once_and_once_when_it_does(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    async with (
        ScriptedBackend(["m"], name="one") as one,
        running_gateway([backend_entry("one", one.url)], environ=environ()) as gateway,
    ):
        for collected, status in enumerate((400, 400, 200), 1):
            collector.status = status
            assert (await post(gateway, body_for(CHAT))).status_code == 200
            await collector.server.until(partial(collector.has, collected))
    lines = list(gateway.runtime.logs.ring.lines)
    lost, found = [line for line in lines if line.message.startswith("traces ")]
    assert lost.message.startswith("traces do not arrive, and are lost until they do: ")
    assert "400" in lost.message
    assert (found.level, found.message) == ("info", "traces arrive again")
    assert not [line for line in lines if line.component == "opentelemetry"]


async def test_an_exporter_that_is_not_there_is_a_problem_in_words() -> None:
    asked = {"OTEL_TRACES_EXPORTER": "zipkin"}
    async with running_gateway(environ=asked) as gateway:
        (problem,) = [p for p in gateway.runtime.snapshot().problems if "OTEL" in p]
    assert "'zipkin' needs the exporter zipkin, which is not installed" in problem


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "None"),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "x"}, "None"),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "x"}, "None"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "x"},
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, but OpenTelemetry is not installed here",
        ),
    ],
)
def test_without_the_extra_a_sentence_and_no_import(environ: dict[str, str], says: str) -> None:
    code = f"""
import sys
sys.modules["opentelemetry"] = None
from nexus_proxy.telemetry.tracing import asked_for, missing
import nexus_proxy.runtime
asked = asked_for({environ!r})
print(asked and missing(asked))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(says)
    assert ("pip install" in done.stdout) is (says != "None")


@pytest.mark.parametrize(
    ("path", "operation", "body"),
    [
        ("/v1/messages", "chat", {"max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/responses", "chat", {"input": "x"}),
        ("/api/chat", "chat", {"messages": [{"role": "user", "content": "x"}], "stream": False}),
        ("/api/generate", "text_completion", {"prompt": "x", "raw": True, "stream": False}),
        ("/api/embed", "embeddings", {"input": "x"}),
    ],
)
async def test_requests_of_all_dialects_have_spans(
    collector: Collector, path: str, operation: str, body: dict[str, Any]
) -> None:
    async with (
        ScriptedBackend(["m"]) as one,
        running_gateway([backend_entry("one", one.url)], environ=environ()) as gateway,
    ):
        answer = await gateway.client.post(path, json={"model": "m", **body})
        assert answer.status_code == 200, answer.text
    kinds = {span["kind"]: span for span in collector.spans()}
    assert kinds[2]["name"] == f"POST {path}"
    assert kinds[2]["http.route"] == path
    assert kinds[3]["gen_ai.operation.name"] == operation
