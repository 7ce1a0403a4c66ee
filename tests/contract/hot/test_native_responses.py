"""`/v1/responses` to backends that speak it: as it came, and what that costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import openai
import pytest

from tests.contract.hot.asking import CHAT, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Exchange, ScriptedBackend, faults
from tests.support.scripted.answers import SSE_HEADERS
from tests.support.scripted.wire import encode

KEY = "sk-test-0123456789"
MODEL, RESPONSES = "gpt-4o", "/v1/responses"
COST = (7 * 2.5 + 5 * 1.25 + 4 * 10) / 1e6


@dataclass(frozen=True, kw_only=True)
class Response:
    """A behaviour: answer a request of Responses by OpenAI's documentation."""

    after: int | None = None
    """So many events of a stream come, and no more."""

    async def __call__(self, exchange: Exchange) -> None:
        asked = exchange.request.json
        if not exchange.request.streams:
            await exchange.respond(200, encode(self.whole(asked)), "application/json")
            return
        head = {**SSE_HEADERS, "transfer-encoding": "chunked"}
        await exchange.write(exchange.head(200, head))
        for event in list(self.events(asked))[: self.after]:
            await exchange.chunk(event)
        await exchange.write(b"0\r\n\r\n")

    def whole(self, asked: dict[str, Any]) -> dict[str, Any]:
        text = {"type": "output_text", "text": "Hi there", "annotations": [], "logprobs": []}
        message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": "completed",
            "model": asked["model"],
            "output": [{**message, "content": [text]}],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": {
                "input_tokens": 12,
                "input_tokens_details": {"cached_tokens": 5},
                "output_tokens": 4,
                "output_tokens_details": {"reasoning_tokens": 1},
                "total_tokens": 16,
            },
        }

    def events(self, asked: dict[str, Any]) -> Iterator[bytes]:
        done = self.whole(asked)
        begun = {**done, "status": "in_progress", "output": [], "usage": None}
        (item,) = done["output"]
        empty = {**item, "content": [], "status": "in_progress"}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        part = {"type": "output_text", "text": "", "annotations": []}
        told: list[dict[str, Any]] = [
            {"type": "response.created", "response": begun},
            {"type": "response.output_item.added", "output_index": 0, "item": empty},
            {"type": "response.content_part.added", **place, "part": part},
            {"type": "response.output_text.delta", **place, "delta": "Hi", "logprobs": []},
            {"type": "response.output_text.delta", **place, "delta": " there", "logprobs": []},
            {"type": "response.output_text.done", **place, "text": "Hi there", "logprobs": []},
            {"type": "response.content_part.done", **place, "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": done},
        ]
        for number, event in enumerate(told):
            yield b"event: %b\ndata: %b\n\n" % (
                event["type"].encode(),
                encode({**event, "sequence_number": number}),
            )


@pytest.fixture
async def cloud() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend([MODEL], name="cloud", api_key=KEY) as one:
        one.behave(Response())
        yield one


@pytest.fixture
async def gateway(cloud: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    """Serves `gpt-4o`, also as `mine`."""
    async with running_gateway(
        [entry(cloud)],
        environ={"OPENAI_API_KEY": KEY},
        routing={"aliases": {"mine": MODEL}, "max_retries": 0},
    ) as running:
        yield running


def entry(backend: ScriptedBackend, **more: Any) -> dict[str, Any]:
    named = {"type": "openai", "api_key_env": "OPENAI_API_KEY"}
    return backend_entry("cloud", backend.url, **{**named, **more})


@pytest.mark.parametrize("streams", [True, False])
async def test_responses_go_through_as_they_are(
    gateway: RunningGateway, cloud: ScriptedBackend, streams: bool
) -> None:
    body = (
        b'{"model" :"%b","store":true, "input":[{"role":"developer","content":"x"},'
        b'{"type":"reasoning","id":"rs_9","summary":[],"encrypted_content":"abc"}],'
        b'"previous_response_id":"resp_0","tools":[{"type":"web_search"}],"stream":%b}'
    )
    flag = b"true" if streams else b"false"
    answer = await post(gateway, body % (b"mine", flag), RESPONSES)
    assert cloud.generations[0].path == RESPONSES
    assert cloud.generations[0].body == body % (MODEL.encode(), flag)
    asked = {"model": "mine"}
    whole = encode(Response().whole(asked))
    assert answer.content == (b"".join(Response().events(asked)) if streams else whole)
    gateway.runtime.history.settle()
    view = gateway.runtime.history.newest(1)[0]
    assert (view.prompt_tokens, view.cached_tokens, view.completion_tokens) == (12, 5, 4)
    assert view.finish_reason == "completed"
    assert view.cost_usd == pytest.approx(COST)


async def test_the_sdk_reads_both(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.responses.create(model="mine", input="hi")
    async with sdk.responses.stream(model="mine", input="hi") as events:
        streamed = await events.get_final_response()
    assert (answer.output_text, streamed.output_text) == ("Hi there", "Hi there")
    assert (answer.model, streamed.model) == ("mine", "mine")


async def test_a_stream_that_breaks_off_is_no_answer(
    sdk: openai.AsyncOpenAI, cloud: ScriptedBackend
) -> None:
    cloud.behave(Response(after=5))

    async def read() -> None:
        async for _ in await sdk.responses.create(model=MODEL, input="hi", stream=True):
            pass

    with pytest.raises(openai.APIError, match="ended its stream"):
        await read()


async def test_errors_go_through_as_they_are(
    gateway: RunningGateway, cloud: ScriptedBackend
) -> None:
    cloud.behave(faults.status(400, "no such tool", type="invalid_request_error", param="tools"))
    answer = await post(gateway, {"model": MODEL, "input": "hi"}, RESPONSES)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools")


async def test_what_other_backends_thought_is_kept_from_openai(
    gateway: RunningGateway, cloud: ScriptedBackend
) -> None:
    ours = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "nexus.aG0="}
    theirs = {**ours, "encrypted_content": "gAAA"}
    turn = {"role": "user", "content": "hi"}
    await post(gateway, {"model": MODEL, "input": [ours, theirs, turn]}, RESPONSES)
    assert cloud.generations[0].json["input"] == [theirs, turn]
    assert len(gateway.runtime.history.newest(1)[0].notes) == 1


async def test_what_has_no_translation_goes_only_where_it_is_understood(
    cloud: ScriptedBackend,
) -> None:
    body = {"model": MODEL, "input": "hi", "previous_response_id": "resp_0"}
    async with ScriptedBackend([MODEL], name="local") as local:
        backends = [entry(cloud, priority=2), backend_entry("local", local.url, priority=1)]
        async with running_gateway(
            backends, environ={"OPENAI_API_KEY": KEY}, routing={"strategy": "priority_only"}
        ) as gateway:
            answer = await post(gateway, body, RESPONSES)
            assert answer.headers["x-nexus-backend"] == "cloud"
            assert not local.generations
            cloud.behave(faults.status(503))
            answer = await post(gateway, body, RESPONSES)
            assert not local.generations
        async with running_gateway([backend_entry("local", local.url)]) as gateway:
            answer = await post(gateway, body, RESPONSES)
            assert "keeps none" in answer.json()["error"]["message"]


@pytest.mark.parametrize("body", [b'{"detail":"Not Found"}', b'{"error":{"message":"no route"}}'])
async def test_a_server_without_the_route_is_asked_in_chat_from_then_on(
    gateway: RunningGateway, cloud: ScriptedBackend, body: bytes
) -> None:
    async def lacking(exchange: Exchange) -> None:
        if exchange.request.path == RESPONSES:
            await exchange.respond(404, body, "application/json")
        else:
            await Answer()(exchange)

    cloud.behave(lacking)
    for _ in range(2):
        answer = await post(gateway, {"model": MODEL, "input": "hi"}, RESPONSES)
        assert answer.json()["output"][0]["content"][0]["text"] == "Hello from cloud."
    assert [request.path for request in cloud.generations] == [RESPONSES, CHAT, CHAT]


@pytest.mark.parametrize(
    ("more", "path"),
    [
        ({}, RESPONSES),
        ({"store": None}, CHAT),
        ({"tools": [{"type": "function", "name": "f", "parameters": {}}]}, RESPONSES),
        ({"tools": [{"type": "web_search"}]}, CHAT),
        ({"input": [{"role": "developer", "content": "x"}]}, CHAT),
    ],
)
async def test_vllm_is_sent_plain_requests_as_they_are(more: dict[str, Any], path: str) -> None:
    async with ScriptedBackend([MODEL], owned_by="vllm") as server:

        async def answer(exchange: Exchange) -> None:
            await (Response() if exchange.request.path == RESPONSES else Answer())(exchange)

        server.behave(answer)
        async with running_gateway([backend_entry("v", server.url, type="vllm")]) as gateway:
            body = {"model": MODEL, "input": "hi", "store": False, **more}
            got = await post(gateway, body, RESPONSES)
            assert json.loads(got.content)["status"] == "completed"
        assert server.generations[0].path == path
