"""The headers that go with every answer: where it came from, why, and what it is called."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

from nexus_proxy.state import ModelInfo, Probe
from tests.contract.hot.asking import CHAT, EMBEDDINGS, body_for, error_of, post
from tests.support import fake_backends
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Behaviour, Cut, ScriptedBackend, faults

ROUTE = {
    "x-nexus-backend": "one",
    "x-nexus-backend-type": "local",
    "x-nexus-route-reason": "capability-match",
    "x-nexus-privacy-zone": "restricted",
    "x-nexus-model": "m",
}


def route_of(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in ROUTE if name in headers}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_says_where_it_came_from(gateway: RunningGateway, stream: bool) -> None:
    answer = await post(gateway, body_for(CHAT, stream=stream))
    assert route_of(answer.headers) == ROUTE
    assert re.fullmatch(r"route;dur=[\d.]+, upstream;dur=[\d.]+", answer.headers["server-timing"])
    assert answer.headers["x-nexus-node"] == gateway.runtime.node_id
    if stream:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "content-length" not in answer.headers
    else:
        assert answer.headers["content-type"] == "application/json"


TEAPOT = b'{"error":{"message":"tea","type":"pot","param":null,"code":"teapot"}}'
FAILURES: list[tuple[str, Behaviour, int, str | None]] = [
    ("its own error", faults.raw(418, TEAPOT), 418, "teapot"),
    ("words", faults.raw(500, b"proxy error", "text/plain"), 500, "upstream_error"),
    ("ollama's shape", faults.raw(404, b'{"error":"no such path"}'), 404, "upstream_error"),
    ("a redirect", faults.raw(307, b"", headers={"location": "http://x.test/"}), 502, None),
    ("no content", faults.raw(204, b""), 502, None),
    ("a page", faults.html, 502, "upstream_invalid_response"),
    ("garbage", faults.garbage, 502, "upstream_invalid_response"),
    ("nothing", faults.close_before_headers, 502, "upstream_cut"),
    ("half", Answer(cut=Cut.RESET), 502, "upstream_cut"),
    ("silence", faults.hang, 504, "upstream_timeout"),
    ("overflow", faults.overflow_vllm, 400, "context_length_exceeded"),
    ("deep nesting", faults.raw(500, b"[" * 100_000), 500, "upstream_error"),
    ("deep answer", faults.raw(200, b'{"x":' + b"[" * 100_000), 502, "upstream_invalid_response"),
]


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [failure[1:] for failure in FAILURES],
    ids=[failure[0] for failure in FAILURES],
)
async def test_so_does_an_error_of_the_backend(
    backend: ScriptedBackend, behaviour: Behaviour, status: int, code: str | None
) -> None:
    async with running_gateway(
        [backend_entry("one", backend.url)],
        routing={"max_retries": 0},
        timeouts={"first_token_seconds": 0.3},
    ) as gateway:
        backend.behave(behaviour)
        answer = await post(gateway, body_for(CHAT))
        error_of(answer, status, code or "upstream_invalid_response")
        assert route_of(answer.headers) == ROUTE


UNREADABLE = [
    b"data: {broken\n\n",
    b'data: {"choices":[{"delta":"x"}]}\n\n',
    b"data: " + b"[" * 100_000 + b"\n\n",
    b"data: " + b"x" * 3000,
]


@pytest.mark.parametrize("event", UNREADABLE)
async def test_a_stream_that_cannot_be_put_together_is_an_error(
    monkeypatch: pytest.MonkeyPatch, event: bytes
) -> None:
    """llama.cpp is asked for a stream where the client wants none."""
    monkeypatch.setattr("nexus_proxy.relay.delivery.MAX_EVENT", 2000)
    async with (
        fake_backends.llamacpp() as llama,
        running_gateway(
            [backend_entry("llama", llama.url, type="llamacpp")], routing={"max_retries": 0}
        ) as gateway,
    ):
        llama.behave(faults.raw(200, event, "text/event-stream"))
        answer = await post(gateway, body_for(CHAT, "smollm2"))
        error_of(answer, 502, "upstream_invalid_response")
        assert gateway.runtime.registry.get("llama").in_flight == 0


async def test_a_redirect_is_another_backends_chance_and_never_followed(
    backend: ScriptedBackend,
) -> None:
    async with (
        ScriptedBackend(name="trap") as trap,
        ScriptedBackend(name="spare") as spare,
        running_gateway(
            [
                backend_entry("one", backend.url, priority=1),
                backend_entry("spare", spare.url, priority=90),
            ],
            routing={"strategy": "priority_only"},
        ) as gateway,
    ):
        there = f"{trap.url}{CHAT}"
        backend.behave(faults.raw(307, b"", headers={"location": there}))
        assert (await post(gateway, body_for(CHAT))).headers["x-nexus-backend"] == "spare"
        assert not trap.requests


REFUSED: list[tuple[str, Any, dict[str, str], int, str]] = [
    ("no json", b"{", {}, 400, "invalid_request"),
    ("no model", {"messages": []}, {}, 400, "invalid_request"),
    ("unknown model", body_for(CHAT, "x"), {}, 404, "model_not_found"),
    ("zone", body_for(CHAT), {"x-nexus-zone": "basement"}, 400, "invalid_request"),
    ("cost", body_for(CHAT), {"x-nexus-max-cost": "much"}, 400, "invalid_request"),
    ("loop", body_for(CHAT), {"x-nexus-hops": ",".join("abcdefghi")}, 508, "loop_detected"),
    ("form", b"a=b", {"content-type": "text/csv"}, 415, "unsupported_media_type"),
]


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED]
)
async def test_a_refusal_carries_its_id_and_the_gateways(
    gateway: RunningGateway,
    backend: ScriptedBackend,
    body: Any,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    answer = await post(gateway, body, headers={**headers, "x-request-id": "mine-1"})
    error_of(answer, status, code)
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["x-nexus-node"] == gateway.runtime.node_id
    assert not backend.generations


@pytest.mark.parametrize("name", ["x-request-id", "x-client-request-id"])
async def test_the_clients_id_is_kept_sent_on_and_found_again(
    gateway: RunningGateway, backend: ScriptedBackend, name: str
) -> None:
    answer = await post(gateway, body_for(CHAT), headers={name: "My_id-42"})
    assert answer.headers["x-request-id"] == "My_id-42"
    assert backend.generations[0].header("x-request-id") == "My_id-42"
    assert gateway.runtime.history.get("My_id-42").backend == "one"


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, "a;b", "<script>", "caf\u00e9"])
async def test_an_id_that_is_no_id_is_replaced(gateway: RunningGateway, bad: str) -> None:
    answer = await gateway.client.post(
        CHAT, json=body_for(CHAT), headers={b"x-request-id": bad.encode()}
    )
    assert re.fullmatch(r"req-[0-9a-f]{16}", answer.headers["x-request-id"])


async def test_two_requests_with_one_id_are_told_apart(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    same = {"x-request-id": "same"}
    asking = asyncio.gather(*(post(gateway, body_for(CHAT), headers=same) for _ in range(3)))
    await backend.until(lambda: backend.in_flight == 3)
    assert gateway.runtime.history.in_flight == 3
    backend.release()
    ids = {answer.headers["x-request-id"] for answer in await asking}
    assert len(ids) == 3
    assert "same" in ids
    assert gateway.runtime.history.in_flight == 0


async def test_the_backends_limits_and_id_come_through_and_its_cookies_do_not(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    told = {
        "x-ratelimit-remaining-requests": "7",
        "openai-processing-ms": "12",
        "x-request-id": "upstream-1",
        "set-cookie": "session=1",
        "access-control-allow-origin": "*",
        "x-powered-by": "Express",
        "x-nexus-backend": "liar",
        "connection": "keep-alive, x-ratelimit-reset",
    }
    body = b'{"choices":[{"finish_reason":"stop"}]}'
    for status in (200, 400):
        backend.behave(faults.raw(status, body, headers=told))
        answer = await post(gateway, body_for(CHAT), headers={"x-request-id": "mine"})
        assert answer.headers["x-ratelimit-remaining-requests"] == "7"
        assert answer.headers["openai-processing-ms"] == "12"
        assert answer.headers["x-request-id"] == "mine"
        assert answer.headers["x-nexus-upstream-request-id"] == "upstream-1"
        assert answer.headers["x-nexus-backend"] == "one"
        gone = {"set-cookie", "access-control-allow-origin", "x-powered-by", "connection"}
        assert gone.isdisjoint(answer.headers)


async def test_names_of_backends_and_models_break_no_header(backend: ScriptedBackend) -> None:
    backend.models = ['mö"d\\el']
    async with running_gateway([backend_entry("näme", backend.url)]) as gateway:
        answer = await post(gateway, body_for(CHAT, 'mö"d\\el'))
        assert answer.headers["x-nexus-model"] == 'm?"d\\el'
        assert answer.headers["x-nexus-backend"] == "n?me"


async def test_as_many_refusals_as_fit_go_into_the_header() -> None:
    entries = [backend_entry(f"b{n}", f"http://b{n}.test", enabled=False) for n in range(60)]
    async with running_gateway(entries) as gateway:
        for n in range(60):
            probe = Probe(models=(ModelInfo(id="m"),))
            gateway.runtime.registry.seen(f"b{n}", probe, probe_ms=1.0)
        answer = await post(gateway, body_for(CHAT))
        told = error_of(answer, 503, "no_available_backend")["context"]["rejections"]
        details = json.loads(answer.headers["x-nexus-rejection-details"])
        assert 10 < len(details) < len(told) == 60
        assert details == told[: len(details)]
        assert len(answer.headers["x-nexus-rejection-reasons"]) <= 4096


async def test_embeddings_have_them_too(gateway: RunningGateway) -> None:
    answer = await post(gateway, body_for(EMBEDDINGS), EMBEDDINGS)
    assert route_of(answer.headers) == ROUTE
    assert "server-timing" in answer.headers
