"""Anthropic's Messages through the real `anthropic` SDK, to a backend that speaks chat only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest

from tests.contract.hot.asking import CLIENT_KEY, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, ToolCall, faults

MESSAGES = "/v1/messages"
HELLO: list[Any] = [{"role": "user", "content": "hi"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "Tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
CALLS = (ToolCall("get_weather", '{"city": "Paris"}'), ToolCall("get_weather", '{"city":"Rome"}'))


@pytest.fixture
async def claude(gateway: RunningGateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=gateway.url, api_key=CLIENT_KEY, max_retries=0
    ) as client:
        yield client


async def test_a_whole_answer(claude: anthropic.AsyncAnthropic, backend: ScriptedBackend) -> None:
    answer = await claude.messages.create(
        model="n", max_tokens=50, system="Be kind", stop_sequences=["END"], messages=HELLO
    )
    assert [block.type for block in answer.content] == ["text"]
    assert answer.content[0].text == "Hello from one."  # type: ignore[union-attr]
    assert (answer.model, answer.stop_reason) == ("n", "end_turn")
    assert answer.usage.input_tokens == 7
    assert backend.generations[0].path == "/v1/chat/completions"
    assert backend.generations[0].json == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind"}, *HELLO],
        "max_tokens": 50,
        "stop": ["END"],
    }


async def test_a_stream(claude: anthropic.AsyncAnthropic) -> None:
    async with claude.messages.stream(model="n", max_tokens=50, messages=HELLO) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        answer = await stream.get_final_message()
    assert text == "Hello from one."
    assert (answer.model, answer.stop_reason) == ("n", "end_turn")
    assert (answer.usage.input_tokens, answer.usage.output_tokens > 0) == (7, True)


@pytest.mark.parametrize("streams", [True, False])
async def test_a_tool_loop(
    claude: anthropic.AsyncAnthropic, backend: ScriptedBackend, streams: bool
) -> None:
    backend.behave(Answer(tool_calls=CALLS), times=1)
    asked: dict[str, Any] = {"model": "m", "max_tokens": 99, "tools": [WEATHER]}
    if streams:
        async with claude.messages.stream(messages=HELLO, **asked) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await claude.messages.create(messages=HELLO, **asked)
    calls = [block for block in answer.content if block.type == "tool_use"]
    assert answer.stop_reason == "tool_use"
    assert [call.input for call in calls] == [{"city": "Paris"}, {"city": "Rome"}]
    results: list[Any] = [
        {"type": "tool_result", "tool_use_id": calls[0].id, "content": "sun"},
        {
            "type": "tool_result",
            "tool_use_id": calls[1].id,
            "content": [{"type": "text", "text": "no such city"}],
            "is_error": True,
        },
        {"type": "text", "text": "Well?"},
    ]
    turns: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": [block.model_dump() for block in answer.content]},
        {"role": "user", "content": results},
    ]
    await claude.messages.create(messages=turns, **asked)
    sent = backend.generations[-1].json["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool", "user"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [call.id for call in calls]
    assert [turn["content"] for turn in sent[2:]] == ["sun", "Error: no such city", "Well?"]


async def test_a_stream_that_breaks(
    claude: anthropic.AsyncAnthropic, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(cut=Cut.CLOSE, after=2))
    got: list[str] = []

    async def read() -> None:
        async with claude.messages.stream(model="m", max_tokens=9, messages=HELLO) as stream:
            async for piece in stream.text_stream:
                got.append(piece)  # noqa: PERF401

    with pytest.raises(anthropic.APIStatusError, match=r"one closed the connection"):
        await read()
    assert got, "what came before reached the client"


async def test_errors_look_as_anthropics_do(
    gateway: RunningGateway, claude: anthropic.AsyncAnthropic, backend: ScriptedBackend
) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        await claude.messages.create(model="nobody", max_tokens=9, messages=HELLO)
    assert unknown.value.request_id == unknown.value.response.headers["x-request-id"]
    assert unknown.value.body["error"]["type"] == "not_found_error"  # type: ignore[index]
    with pytest.raises(anthropic.BadRequestError, match="messages"):
        await claude.messages.create(model="m", max_tokens=9, messages=[])
    backend.behave(faults.status(429, headers={"retry-after": "2"}), times=1)
    with pytest.raises(anthropic.RateLimitError) as limited:
        await claude.messages.create(model="m", max_tokens=9, messages=HELLO)
    assert limited.value.response.headers["retry-after"] == "2"
    for method, path in (("GET", MESSAGES), ("POST", f"{MESSAGES}/batches")):
        answer = await gateway.client.request(method, path)
        told = answer.json()
        assert (told["type"], told["request_id"]) == ("error", answer.headers["x-request-id"])
        assert answer.headers["request-id"] == told["request_id"]


@pytest.mark.parametrize(
    "path", [f"{MESSAGES}?beta=true", "/v1/v1/messages", "/messages", "//v1/messages/?beta=true"]
)
async def test_where_clients_ask(gateway: RunningGateway, path: str) -> None:
    body = {"model": "m", "max_tokens": 9, "messages": HELLO}
    answer = await post(gateway, body, path, {"x-api-key": "k", "anthropic-beta": "none-such"})
    assert answer.json()["content"] == [{"type": "text", "text": "Hello from one."}]


async def test_what_claude_code_sends(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    """Its haiku ids, suffix, billing line, system message in the middle and server tools."""
    body = {
        "model": "m[1m]",
        "max_tokens": 32000,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=abc;"},
            {"type": "text", "text": "You are Claude", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [*HELLO, {"role": "system", "content": "Plan first"}],
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": []},
        "tools": [WEATHER, {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    }
    answer = await post(gateway, body, f"{MESSAGES}?beta=true")
    assert answer.json()["model"] == "m[1m]"
    sent = backend.generations[0].json
    reminder = "hi\n\n<system-reminder>\nPlan first\n</system-reminder>"
    assert sent["model"] == "m"
    assert sent["messages"] == [
        {"role": "system", "content": "You are Claude"},
        {"role": "user", "content": reminder},
    ]
    assert [tool["function"]["name"] for tool in sent["tools"]] == ["get_weather"]
    assert (sent["parallel_tool_calls"], sent["reasoning_effort"]) == (False, "high")
    why = await gateway.client.get(f"/nexus/v1/why/{answer.headers['x-request-id']}")
    notes = " ".join(why.json()["notes"])
    assert "web_search" in notes
    assert "context_management" in notes
    assert "billing header" in notes


async def test_the_billing_line_stays_where_the_rule_is_off(backend: ScriptedBackend) -> None:
    line = "x-anthropic-billing-header: cc_version=1; cch=abc;"
    body = {"model": "m", "max_tokens": 9, "system": line, "messages": HELLO}
    async with running_gateway(
        [backend_entry("one", backend.url)], routing={"stabilise_prompts": False}
    ) as gateway:
        assert (await post(gateway, body, MESSAGES)).status_code == 200
        assert backend.generations[0].json["messages"][0] == {"role": "system", "content": line}
        counted = await post(gateway, body, f"{MESSAGES}/count_tokens")
        bare = await post(gateway, {**body, "system": ""}, f"{MESSAGES}/count_tokens")
        assert counted.json()["input_tokens"] > bare.json()["input_tokens"]


async def test_counting_tokens(gateway: RunningGateway, claude: anthropic.AsyncAnthropic) -> None:
    few = await claude.messages.count_tokens(model="m", messages=HELLO)
    many = await claude.messages.count_tokens(
        model="m", messages=[{"role": "user", "content": "a word and another " * 50}]
    )
    assert 0 < few.input_tokens < 20 < many.input_tokens
    answer = await post(gateway, {"model": "m", "messages": HELLO}, f"{MESSAGES}/count_tokens")
    assert answer.headers["x-nexus-tokens-counted-by"] in ("estimate", "tokenizer")
    refused = await post(gateway, {"model": "m", "messages": []}, f"{MESSAGES}/count_tokens")
    assert json.loads(refused.content)["error"]["type"] == "invalid_request_error"
