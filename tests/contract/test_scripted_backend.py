"""The scripted backend must really do what other tests blame the gateway with."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from nexus_proxy.tasks import spawn
from tests.support.scripted import (
    Answer,
    Behaviour,
    Cut,
    Exchange,
    Framing,
    ScriptedBackend,
    ToolCall,
    faults,
)

CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM: dict[str, Any] = {**CHAT, "stream": True}


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(name="left") as backend:
        yield backend


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=5, trust_env=False, verify=False) as client:
        yield client


async def chat(
    client: httpx.AsyncClient, backend: ScriptedBackend, body: dict[str, Any]
) -> httpx.Response:
    return await client.post(f"{backend.url}/v1/chat/completions", json=body)


def events(text: str) -> list[dict[str, Any]]:
    """The JSON of all data events, which must end with `[DONE]`."""
    parts = [part for part in text.split("\n\n") if part.startswith("data: ")]
    data = [part.removeprefix("data: ") for part in parts]
    assert data.pop() == "[DONE]"
    return [json.loads(part) for part in data]


async def raw_exchange(backend: ScriptedBackend, body: dict[str, Any]) -> bytes:
    """All bytes that come back over a bare socket, up to EOF or to the end of the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    try:
        writer.write(raw_request(body))
        received = b""
        while piece := await asyncio.wait_for(reader.read(65536), 5):
            received += piece
            if received.endswith(b"\r\n0\r\n\r\n"):
                break
        return received
    finally:
        writer.close()


def raw_request(body: dict[str, Any]) -> bytes:
    payload = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\ncontent-length: {len(payload)}\r\n\r\n"
    )
    return head.encode() + payload


async def test_answers_chat_and_says_who_served(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    response = await chat(client, backend, {**CHAT, "n": 2, "logprobs": True})
    answer = response.json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == [
        "Hello from left.",
        "Hello from left.",
    ]
    assert answer["choices"][0]["logprobs"]["content"][0]["token"] == "Hello"
    assert answer["usage"]["total_tokens"] == 7 + 8
    assert answer["system_fingerprint"] == response.headers["x-served-by"] == "left"


async def test_streams_role_content_finish_and_usage_only_if_asked(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    bare = events((await chat(client, backend, STREAM)).text)
    assert bare[0]["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(e["choices"][0]["delta"].get("content", "") for e in bare) == "Hello from left."
    assert [e["choices"][0]["finish_reason"] for e in bare[-2:]] == [None, "stop"]
    assert not any("usage" in event for event in bare)

    asked = {**STREAM, "stream_options": {"include_usage": True}}
    with_usage = events((await chat(client, backend, asked)).text)
    assert [event["usage"] for event in with_usage[:-1]] == [None] * len(bare)
    assert with_usage[-1]["choices"] == []
    assert with_usage[-1]["usage"]["completion_tokens"] == 4

    backend.behave(Answer(usage=False))
    assert len(events((await chat(client, backend, asked)).text)) == len(bare)


@pytest.mark.parametrize(("prompt", "choices"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1)])
async def test_answers_completions(
    client: httpx.AsyncClient, backend: ScriptedBackend, prompt: object, choices: int
) -> None:
    url = f"{backend.url}/v1/completions"
    body = {"model": "m", "prompt": prompt}
    whole = (await client.post(url, json=body)).json()
    assert [choice["text"] for choice in whole["choices"]] == ["Hello from left."] * choices
    streamed = events((await client.post(url, json={**body, "stream": True})).text)
    text = "".join(event["choices"][0]["text"] for event in streamed)
    assert text == "Hello from left." * choices


@pytest.mark.parametrize(
    ("value", "count"), [("a", 1), (["a", "b"], 2), ([1, 2], 1), ([[1], [2], [3]], 3)]
)
async def test_embeds_with_the_asked_size_and_encoding(
    client: httpx.AsyncClient, backend: ScriptedBackend, value: object, count: int
) -> None:
    url = f"{backend.url}/v1/embeddings"
    body = {"model": "m", "input": value, "dimensions": 3}
    floats = (await client.post(url, json=body)).json()["data"]
    coded = (await client.post(url, json={**body, "encoding_format": "base64"})).json()["data"]
    assert [vector["embedding"] for vector in floats] == [[i, 0.5, 0.5] for i in range(count)]
    decoded = [struct.unpack("<3f", base64.b64decode(vector["embedding"])) for vector in coded]
    assert [list(vector) for vector in decoded] == [vector["embedding"] for vector in floats]


async def test_lists_models_health_and_extra_routes(client: httpx.AsyncClient) -> None:
    models: list[str | dict[str, Any]] = ["a", {"id": "b", "max_model_len": 2048}]
    routes = {"/props": {"total_slots": 2}, "/version": faults.html}
    async with ScriptedBackend(models, owned_by="vllm", routes=routes, api_key="k") as backend:
        assert (await client.get(f"{backend.url}/health")).json() == {"status": "ok"}
        assert (await client.get(f"{backend.url}/props")).status_code == 401
        client.headers["authorization"] = "Bearer k"
        listed = (await client.get(f"{backend.url}/v1/models")).json()["data"]
        assert [(model["id"], model["owned_by"]) for model in listed] == [
            ("a", "vllm"),
            ("b", "vllm"),
        ]
        assert listed[1]["max_model_len"] == 2048
        assert (await client.get(f"{backend.url}/props")).json() == {"total_slots": 2}
        assert "text/html" in (await client.get(f"{backend.url}/version")).headers["content-type"]
        assert (await client.get(f"{backend.url}/nowhere")).status_code == 404
        assert (await chat(client, backend, CHAT)).status_code == 404
        backend.models.append("m")
        assert (await chat(client, backend, CHAT)).status_code == 200


async def test_records_what_reaches_it(client: httpx.AsyncClient, backend: ScriptedBackend) -> None:
    await client.get(f"{backend.url}/v1/models?limit=1")
    await client.post(
        f"{backend.url}/v1/chat/completions", json=CHAT, headers={"Authorization": "Bearer s"}
    )
    probe, generation = backend.requests
    assert (probe.method, probe.path, probe.query) == ("GET", "/v1/models", "limit=1")
    assert (backend.probes, backend.generations) == ([probe], [generation])
    assert generation.json == CHAT
    assert generation.header("Authorization") == "Bearer s"
    assert probe.connection == generation.connection == 1
    assert generation.at >= probe.at
    await backend.until(lambda: generation.answered)
    assert generation.sent > 0


async def test_says_tool_calls_reasoning_and_noise(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    call = ToolCall("get_weather", '{"city":"Paris"}')
    backend.behave(Answer(tool_calls=(call,), reasoning=("so", "?"), noise=True))
    message = (await chat(client, backend, CHAT)).json()["choices"][0]
    assert message["finish_reason"] == "tool_calls"
    assert message["message"]["content"] is None
    assert message["message"]["tool_calls"][0]["function"]["arguments"] == call.arguments

    text = (await chat(client, backend, STREAM)).text
    assert "\n\n: a comment\n\nevent: progress\nid: 41\nretry: 3000\ndata: " in text
    chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    choices = [chunk["choices"][0] for chunk in chunks if chunk.get("choices")]
    deltas = [choice["delta"] for choice in choices]
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "so?"
    calls = [delta["tool_calls"][0] for delta in deltas if "tool_calls" in delta]
    assert calls[0]["id"] == "call_0"
    assert "".join(part["function"]["arguments"] for part in calls) == call.arguments
    assert choices[-1]["finish_reason"] == "tool_calls"
    assert chunks[-1]["x_vendor"]


@pytest.mark.parametrize("framing", [Framing.PER_BYTE, Framing.TOGETHER, Framing.UNTIL_CLOSE])
async def test_frames_streams_in_odd_but_valid_ways(
    client: httpx.AsyncClient, backend: ScriptedBackend, framing: Framing
) -> None:
    plain = (await chat(client, backend, STREAM)).text
    backend.behave(Answer(framing=framing))
    assert (await chat(client, backend, STREAM)).text == plain
    wire = await raw_exchange(backend, STREAM)
    body = wire.partition(b"\r\n\r\n")[2]
    if framing is Framing.PER_BYTE:
        assert body.startswith(b"1\r\nd\r\n1\r\na\r\n")
    elif framing is Framing.TOGETHER:
        assert body.count(b"\r\n") == 4
    else:
        assert body == plain.encode()


async def test_streams_crlf_separators_comments_and_huge_events(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    huge = "x" * 1_000_000
    backend.behave(Answer(text=("a\u2028b", huge), newline=b"\r\n", comments=2))
    text = (await chat(client, backend, STREAM)).text
    assert text.startswith(": keepalive\r\n\r\n: keepalive\r\n\r\ndata: ")
    assert "a\u2028b" in text
    contents = [e["choices"][0]["delta"].get("content") for e in events(text.replace("\r\n", "\n"))]
    assert contents == ["", "a\u2028b", huge, None]


async def test_leaves_out_done_or_the_finish_reason(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(done=False), times=1)
    backend.behave(Answer(finish=None), times=1)
    undone = (await chat(client, backend, STREAM)).text
    assert '"finish_reason":"stop"' in undone
    assert "[DONE]" not in undone
    unfinished = events((await chat(client, backend, STREAM)).text)
    assert {event["choices"][0]["finish_reason"] for event in unfinished} == {None}


def patience_for(error: type[Exception] | None) -> float:
    """Seconds without a byte: short only where silence is what we wait for."""
    return 0.4 if error is httpx.ReadTimeout else 5


async def received_before_cut(
    client: httpx.AsyncClient, backend: ScriptedBackend, *, patience: float
) -> tuple[str, Any]:
    """The text that came, and the exception that ended it, if one did."""
    text = ""
    try:
        async with client.stream(
            "POST", f"{backend.url}/v1/chat/completions", json=STREAM, timeout=patience
        ) as response:
            async for piece in response.aiter_text():
                text += piece
                if text.count(": keepalive\n\n") > 3:
                    break
    except httpx.TransportError as error:
        return text, type(error)
    return text, None


@pytest.mark.parametrize(
    ("cut", "error"),
    [
        (Cut.CLEAN_EOF, None),
        (Cut.MID_EVENT, None),
        (Cut.MID_CHUNK, httpx.RemoteProtocolError),
        (Cut.CLOSE, httpx.RemoteProtocolError),
        (Cut.RESET, httpx.ReadError),
        (Cut.STALL, httpx.ReadTimeout),
        (Cut.COMMENTS, None),
        (Cut.ERROR_EVENT, None),
    ],
)
async def test_breaks_streams_off(
    client: httpx.AsyncClient, backend: ScriptedBackend, cut: Cut, error: type[Exception] | None
) -> None:
    backend.behave(Answer(cut=cut, after=2))
    text, raised = await received_before_cut(client, backend, patience=patience_for(error))
    assert raised is error
    assert '"content":"Hello"' in text
    assert "from" not in text
    assert "[DONE]" not in text
    whole_events = text.endswith("\n\n")
    assert whole_events is (cut not in {Cut.MID_EVENT, Cut.MID_CHUNK})
    assert ('"error":' in text) is (cut is Cut.ERROR_EVENT)


@pytest.mark.parametrize(
    ("cut", "error"),
    [
        (Cut.CLOSE, httpx.RemoteProtocolError),
        (Cut.RESET, httpx.ReadError),
        (Cut.STALL, httpx.ReadTimeout),
    ],
)
async def test_breaks_whole_answers_off(
    client: httpx.AsyncClient, backend: ScriptedBackend, cut: Cut, error: type[Exception]
) -> None:
    backend.behave(Answer(cut=cut))
    client.timeout = httpx.Timeout(patience_for(error))
    with pytest.raises(error):
        await chat(client, backend, CHAT)


@pytest.mark.parametrize("body", [CHAT, STREAM])
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (faults.hang, httpx.ReadTimeout),
        (faults.hang_after_headers, httpx.ReadTimeout),
        (faults.reset_before_headers, httpx.ReadError),
        (faults.reset_after_headers, httpx.ReadError),
        (faults.close_before_headers, httpx.RemoteProtocolError),
        (faults.lying_length(by=5), httpx.RemoteProtocolError),
    ],
)
async def test_fails_from_the_first_byte(
    client: httpx.AsyncClient,
    backend: ScriptedBackend,
    behaviour: Behaviour,
    error: type[Exception],
    body: dict[str, Any],
) -> None:
    backend.behave(behaviour)
    client.timeout = httpx.Timeout(patience_for(error))
    with pytest.raises(error):
        await chat(client, backend, body)


async def test_a_length_that_is_too_short_leaves_bytes_over(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    whole = (await chat(client, backend, CHAT)).content
    backend.behave(faults.lying_length(by=-5))
    wire = await raw_exchange(backend, CHAT)
    head, _, body = wire.partition(b"\r\n\r\n")
    assert f"content-length: {len(whole) - 5}".encode() in head
    assert body == whole


@pytest.mark.parametrize(
    ("behaviour", "status", "content_type", "text"),
    [
        (faults.html, 200, "text/html", "<h1>"),
        (faults.garbage, 200, "application/json", "{not json"),
        (faults.error_with_200, 200, "application/json", "Unexpected endpoint"),
        (faults.mislabelled, 200, "text/plain", "Hello from left."),
        (faults.loading, 503, "application/json", "Loading model"),
        (faults.router_lost_child, 500, "text/plain", "proxy error"),
        (faults.unauthorized, 401, "application/json", "authentication_error"),
        (faults.model_missing, 404, "application/json", "NotFoundError"),
        (faults.overflow_llamacpp, 400, "application/json", "exceed_context_size_error"),
        (faults.overflow_vllm, 400, "application/json", "maximum context length"),
    ],
)
async def test_answers_something_else(
    client: httpx.AsyncClient,
    backend: ScriptedBackend,
    behaviour: Behaviour,
    status: int,
    content_type: str,
    text: str,
) -> None:
    backend.behave(behaviour)
    response = await chat(client, backend, CHAT)
    assert response.status_code == status
    assert response.headers["content-type"].startswith(content_type)
    assert text in response.content.decode(errors="replace")


async def test_queues_behaviours_and_then_goes_on_as_always(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.behave(faults.status(429, headers={"retry-after-ms": "20"}), times=2)
    backend.behave(faults.status(500), times=1)
    responses = [await chat(client, backend, CHAT) for _ in range(4)]
    assert [response.status_code for response in responses] == [429, 429, 500, 200]
    assert responses[0].headers["retry-after-ms"] == "20"
    backend.behave(faults.status(503))
    assert (await client.get(f"{backend.url}/health")).status_code == 200
    backend.behave(faults.status(503), on="probes")
    assert (await client.get(f"{backend.url}/health")).status_code == 503
    backend.behave(on="all")
    assert (await chat(client, backend, CHAT)).status_code == 200
    assert (await client.get(f"{backend.url}/health")).status_code == 200


@pytest.mark.parametrize("hold_before", ["headers", 0, 1])
async def test_holds_requests_in_flight_and_counts_them(
    client: httpx.AsyncClient, backend: ScriptedBackend, hold_before: Any
) -> None:
    backend.behave(Answer(hold_before=hold_before))
    waiting = [spawn(chat(client, backend, STREAM), name="client") for _ in range(3)]
    await backend.until(lambda: backend.in_flight == 3)
    assert backend.connections == 3
    assert not any(request.answered for request in backend.requests)
    backend.release()
    assert [(await task).status_code for task in waiting] == [200] * 3
    await backend.until(lambda: backend.in_flight == 0)
    assert backend.peak == 3


@pytest.mark.parametrize(
    ("behaviour", "body"),
    [
        (faults.hang, CHAT),
        (Answer(hold_before=0), STREAM),
        (Answer(text=("x" * 1000,) * 100_000), STREAM),
    ],
)
async def test_notices_that_the_client_left(
    backend: ScriptedBackend, behaviour: Behaviour, body: dict[str, Any]
) -> None:
    backend.behave(behaviour)
    _, writer = await asyncio.open_connection("127.0.0.1", backend.port)
    writer.write(raw_request(body))
    await backend.until(lambda: backend.in_flight == 1)
    request = backend.generations[0]
    assert not request.client_left.is_set()
    writer.close()
    assert await request.closed(within=5) >= 0
    await backend.until(lambda: backend.in_flight == 0)
    assert not request.answered


async def test_does_not_run_ahead_of_a_client_that_does_not_read(backend: ScriptedBackend) -> None:
    total = 50_000_000
    backend.behave(Answer(text=("x" * 100_000,) * (total // 100_000)))
    with socket.create_connection(("127.0.0.1", backend.port)) as client:
        client.setblocking(False)
        await asyncio.get_running_loop().sock_sendall(client, raw_request(STREAM))
        await backend.until(lambda: backend.in_flight == 1)
        assert backend.generations[0].sent < total / 2
    await backend.generations[0].closed()


async def test_its_own_end_is_not_the_client_leaving(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    task = spawn(swallow(chat(client, backend, CHAT)), name="client")
    await backend.until(lambda: backend.in_flight == 1)
    backend.drop_connections(reset=True)
    assert isinstance(await task, httpx.ReadError)
    await backend.until(lambda: backend.in_flight == 0)
    assert not backend.requests[0].client_left.is_set()


async def swallow(request: Any) -> Exception | None:
    try:
        await request
    except httpx.TransportError as error:
        return error
    return None


async def test_refuses_and_comes_back_on_the_same_port(
    client: httpx.AsyncClient, backend: ScriptedBackend
) -> None:
    url = backend.url
    assert (await chat(client, backend, CHAT)).status_code == 200
    backend.refuse()
    assert (await chat(client, backend, CHAT)).status_code == 200, "kept alive"
    backend.drop_connections()
    await backend.until(lambda: backend.connections == 1)
    async with httpx.AsyncClient(trust_env=False) as newcomer:
        with pytest.raises(httpx.ConnectError):
            await chat(newcomer, backend, CHAT)
        await backend.reopen()
        assert backend.url == url
        assert (await chat(newcomer, backend, CHAT)).status_code == 200


async def test_closes_after_streams_while_announcing_keep_alive(client: httpx.AsyncClient) -> None:
    async with ScriptedBackend(closes_after_stream=True) as backend:
        reader, writer = await asyncio.open_connection("127.0.0.1", backend.port)
        writer.write(raw_request(CHAT) + raw_request(STREAM))
        received = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        assert received.count(b"keep-alive: timeout=5, max=100") == 2
        assert received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        assert b"connection: close" not in received


async def test_a_script_that_crashes_fails_the_test() -> None:
    async def broken(exchange: Exchange) -> None:
        raise RuntimeError("bad script")

    backend = ScriptedBackend()
    backend.behave(broken)
    async with httpx.AsyncClient(trust_env=False) as client:
        await backend.__aenter__()
        assert await swallow(chat(client, backend, CHAT)) is not None
        with pytest.raises(RuntimeError, match="bad script"):
            await backend.__aexit__(None, None, None)
