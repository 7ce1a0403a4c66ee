"""A backend that speaks Anthropic's Messages, behind the gateway: asked in chat, by Ollama's
clients and in Messages itself, by the real SDKs, with what it costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import ollama
import openai
import pytest

from tests.contract.hot.asking import CHAT, CLIENT_KEY, HELLO, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend, claude, faults
from tests.support.scripted.claude import Message
from tests.support.scripted.wire import encode

KEY = "sk-ant-test-0123456789"
MODEL = "claude-opus-4-8"
COST = (7 * 5 + 100 * 0.5 + 15 * 6.25 + 5 * 10 + 11 * 25) / 1e6
"""Of the scripted answer, by Anthropic's price list."""
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture
async def cloud() -> AsyncIterator[ScriptedBackend]:
    able = ("image_input", "thinking", "structured_outputs")
    listed = claude.page([claude.model(MODEL, able=able)])
    async with ScriptedBackend([MODEL], api_key=KEY, routes={"/v1/models": listed}) as one:
        one.behave(Message())
        yield one


@pytest.fixture
async def local() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend([MODEL], name="local") as one:
        yield one


@pytest.fixture
async def gateway(cloud: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    """Serves Claude, also as `mine`."""
    async with running_gateway(
        [paid(cloud)], environ={"ANTHROPIC_API_KEY": KEY}, routing={"aliases": {"mine": MODEL}}
    ) as running:
        yield running


@pytest.fixture
async def messages(gateway: RunningGateway) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(
        base_url=gateway.url, api_key=CLIENT_KEY, max_retries=0
    ) as client:
        yield client


def paid(backend: ScriptedBackend, **more: Any) -> dict[str, Any]:
    named = {"type": "anthropic", "api_key_env": "ANTHROPIC_API_KEY"}
    return backend_entry("cloud", backend.url, **named, **more)


def last(gateway: RunningGateway) -> Any:
    return gateway.runtime.history.newest(1)[0]


# -- chat ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
async def test_a_tool_loop_of_chat_with_thinking(
    sdk: openai.AsyncOpenAI, cloud: ScriptedBackend, gateway: RunningGateway, streams: bool
) -> None:
    blocks = [
        claude.thinking("Where is it?"),
        claude.text("I look."),
        claude.tool_use("toolu_1", "look", at="door"),
        claude.tool_use("toolu_2", "look"),
    ]
    cloud.behave(Message(content=blocks, stop="tool_use"), times=1)
    asked: Any = {"model": "mine", "tools": [TOOL], "reasoning_effort": "high"}
    system: list[Any] = [{"role": "developer", "content": "Be kind"}, *HELLO]
    if streams:
        async with sdk.chat.completions.stream(
            messages=system, stream_options={"include_usage": True}, **asked
        ) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await sdk.chat.completions.create(messages=system, **asked)
    choice = answer.choices[0]
    assert (answer.model, choice.finish_reason) == ("mine", "tool_calls")
    assert (choice.message.content, choice.message.reasoning_content) == ("I look.", "Where is it?")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (127, 11)
    assert answer.usage.prompt_tokens_details.cached_tokens == 100
    calls = choice.message.tool_calls
    assert [json.loads(call.function.arguments) for call in calls] == [{"at": "door"}, {}]
    results: list[Any] = [
        {"role": "tool", "tool_call_id": call.id, "content": "dark"} for call in calls
    ]
    turn: Any = choice.message.model_dump(exclude_none=True, exclude={"parsed"})
    for call in turn["tool_calls"]:
        call["function"].pop("parsed_arguments", None)
        call.pop("index", None)
    again = await sdk.chat.completions.create(messages=[*system, turn, *results], **asked)
    assert again.choices[0].message.content == "Hello there."
    sent = cloud.generations[-1]
    assert (sent.path, sent.header("x-api-key")) == ("/v1/messages", KEY)
    assert sent.header("anthropic-version") == "2023-06-01"
    assert sent.header("authorization") is None
    assert (sent.json["model"], sent.json["max_tokens"]) == (MODEL, 64_000)
    assert sent.json["system"] == [{"type": "text", "text": "Be kind"}]
    _, assistant, tools = sent.json["messages"]
    assert assistant["content"] == [{k: v for k, v in b.items() if v is not None} for b in blocks]
    assert [block["tool_use_id"] for block in tools["content"]] == ["toolu_1", "toolu_2"]
    gateway.runtime.history.settle()
    spent = await gateway.runtime.ledger.report(None, "backend")
    assert spent.rows[0].usd_measured == pytest.approx(2 * COST)


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("refers", [True, False])
async def test_a_tool_loop_of_responses_keeps_signatures(
    sdk: openai.AsyncOpenAI, cloud: ScriptedBackend, streams: bool, refers: bool
) -> None:
    """Whether a client sends items back, as Codex does, or refers to them, as the Vercel AI SDK."""
    blocks = [
        claude.thinking("Where"),
        claude.thinking(" is it?", "c2lnbmVk"),
        {"type": "redacted_thinking", "data": "ZW5j"},
        claude.tool_use("toolu_1", "look", at="door"),
    ]
    cloud.behave(Message(content=blocks, stop="tool_use"), times=1)
    tool = {"type": "function", **TOOL["function"]}
    asked: Any = {"model": MODEL, "tools": [tool], "reasoning": {"effort": "high"}}
    if not refers:
        asked |= {"store": False, "include": ["reasoning.encrypted_content"]}
    if streams:
        async with sdk.responses.stream(input=HELLO, **asked) as stream:
            first: Any = await stream.get_final_response()
    else:
        first = await sdk.responses.create(input=HELLO, **asked)
    reasoning, call = first.output
    assert reasoning.content[0].text == "Where is it?"
    made = [
        item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in first.output
    ]
    references = [{"type": "item_reference", "id": item.id} for item in first.output]
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "dark"}
    turn = [*HELLO, *(references if refers else made), result]
    again = await sdk.responses.create(input=turn, **asked)
    assert again.output_text == "Hello there."
    assert cloud.generations[-1].json["messages"][1]["content"] == blocks


async def test_usage_is_in_a_stream_for_those_who_ask(sdk: openai.AsyncOpenAI) -> None:
    asked: Any = {"model": MODEL, "messages": HELLO, "stream": True}
    chunks = [chunk async for chunk in await sdk.chat.completions.create(**asked)]
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    asked["stream_options"] = {"include_usage": True}
    chunks = [chunk async for chunk in await sdk.chat.completions.create(**asked)]
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 138)


async def test_an_ollama_client_is_served_too(
    gateway: RunningGateway, cloud: ScriptedBackend
) -> None:
    async with ollama.AsyncClient(host=gateway.url) as client:
        pieces = [p async for p in await client.chat(model=MODEL, messages=HELLO, stream=True)]
    assert "".join(piece.message.content or "" for piece in pieces) == "Hello there."
    assert (pieces[-1].done_reason, pieces[-1].prompt_eval_count) == ("stop", 127)
    assert cloud.generations[0].path == "/v1/messages"


async def test_what_was_dropped_is_told_by_why_and_what_cannot_be_is_refused(
    gateway: RunningGateway, cloud: ScriptedBackend
) -> None:
    body = {"model": MODEL, "messages": HELLO}
    assert (await post(gateway, {**body, "seed": 7})).status_code == 200
    assert last(gateway).notes == ("seed: has no counterpart in Anthropic's Messages",)
    answer = await post(gateway, {**body, "n": 2})
    assert "n: Anthropic gives one answer" in error_of(answer, 400, "invalid_request")["message"]
    assert len(cloud.generations) == 1


async def test_another_backend_takes_what_anthropic_cannot(
    cloud: ScriptedBackend, local: ScriptedBackend
) -> None:
    backends = [paid(cloud, priority=1), backend_entry("local", local.url)]
    async with running_gateway(
        backends, environ={"ANTHROPIC_API_KEY": KEY}, routing={"strategy": "priority_only"}
    ) as gateway:
        answer = await post(gateway, {"model": MODEL, "messages": HELLO, "n": 2, "seed": 1})
        assert answer.headers["x-nexus-backend"] == "local"
        assert len(answer.json()["choices"]) == 2
        assert last(gateway).notes == ()


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (claude.fault(529, "overloaded_error", "Overloaded"), 503, "overloaded_error"),
        (
            claude.fault(429, "rate_limit_error", "Slow down", {"retry-after": "20"}),
            429,
            "rate_limit_error",
        ),
        (
            claude.fault(400, "invalid_request_error", "prompt is too long: 9 tokens > 5 maximum"),
            400,
            "context_length_exceeded",
        ),
        (claude.fault(401, "authentication_error", f"bad {KEY}"), 401, "authentication_error"),
        (faults.raw(200, b'{"type":"message"}'), 502, "upstream_invalid_response"),
    ],
)
async def test_errors_are_told_in_chats_form(
    gateway: RunningGateway, cloud: ScriptedBackend, fault: Any, status: int, code: str
) -> None:
    cloud.behave(fault)
    answer = await post(gateway, {"model": MODEL, "messages": HELLO})
    told = error_of(answer, status, code)
    assert KEY not in told["message"]
    if status == 429:
        assert answer.headers["retry-after"] == "20"


async def test_a_stream_that_breaks_off_is_no_answer(
    sdk: openai.AsyncOpenAI, cloud: ScriptedBackend
) -> None:
    overloaded = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for message, words in (
        (Message(after=6), "without the last finish reason"),
        (Message(after=6, last=overloaded), "Overloaded"),
    ):
        cloud.behave(message)
        with pytest.raises(openai.APIError, match=words):
            async for _ in await sdk.chat.completions.create(
                model=MODEL, messages=HELLO, stream=True
            ):
                pass


# -- Messages, as they come ------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [True, False])
async def test_messages_go_through_as_they_are(
    gateway: RunningGateway, cloud: ScriptedBackend, streams: bool
) -> None:
    """Byte for byte but for the model's name, with what only Anthropic understands."""
    body = (
        b'{"model" : "%b", "max_tokens":5, "context_management":{"edits":[ ]},\n "stream":%b,'
        b'"system":[{"type":"text","text":"x-anthropic-billing-header: 1"}],"messages":'
        b'[{"role":"user","content":"hi"}], "tools":[{"type":"web_search_20250305","name":"w"}]}'
    )
    flag = b"true" if streams else b"false"
    headers = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "one-2025-01-01,two-2026-02-02",
        "x-api-key": CLIENT_KEY,
    }
    message = Message(content=[claude.thinking("hm"), claude.text("ja \u2028 x")])
    cloud.behave(message)
    answer = await post(gateway, body % (b"mine", flag), "/v1/messages?beta=true", headers)
    sent = cloud.generations[0]
    assert sent.body == body % (MODEL.encode(), flag)
    assert sent.header("anthropic-beta") == headers["anthropic-beta"]
    assert sent.header("anthropic-version") == "2026-10-21"
    assert sent.header("x-api-key") == KEY
    if streams:
        events = b"".join(map(claude.framed, message.events({"model": "mine"})))
        assert answer.content == events
    else:
        assert answer.content == encode(message.whole({"model": "mine"}))
    gateway.runtime.history.settle()
    view = last(gateway)
    assert (view.prompt_tokens, view.completion_tokens, view.cached_tokens) == (127, 11, 100)
    assert (view.finish_reason, view.notes, view.usage_source) == ("end_turn", (), "measured")
    assert view.cost_usd == pytest.approx(COST)


@pytest.mark.parametrize("streams", [True, False])
async def test_the_sdk_of_anthropic(
    messages: anthropic.AsyncAnthropic, cloud: ScriptedBackend, streams: bool
) -> None:
    cloud.behave(Message(content=[claude.thinking("hm"), claude.tool_use("toolu_1", "look", a=1)]))
    asked: Any = {"model": "mine", "max_tokens": 9, "messages": HELLO}
    if streams:
        async with messages.messages.stream(**asked) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await messages.messages.create(**asked)
    thought, call = answer.content
    assert (answer.model, thought.signature) == ("mine", claude.SIGNATURE)  # type: ignore[union-attr]
    assert call.input == {"a": 1}  # type: ignore[union-attr]
    assert cloud.generations[0].header("anthropic-version")


async def test_errors_go_through_as_they_are(
    gateway: RunningGateway, messages: anthropic.AsyncAnthropic, cloud: ScriptedBackend
) -> None:
    cloud.behave(
        claude.fault(
            400,
            "invalid_request_error",
            'messages.1.role: Unexpected role "system"',
            {"anthropic-ratelimit-requests-remaining": "4", "request-id": "req_1"},
        )
    )
    body = {"model": MODEL, "max_tokens": 9, "messages": HELLO}
    answer = await post(gateway, body, "/v1/messages")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == 'messages.1.role: Unexpected role "system"'
    assert answer.json()["request_id"] == "req_1"
    assert answer.headers["anthropic-ratelimit-requests-remaining"] == "4"
    assert answer.headers["x-nexus-upstream-request-id"] == "req_1"
    cloud.behave(claude.fault(529, "overloaded_error", "Overloaded"))
    with pytest.raises(anthropic.APIStatusError) as overloaded:
        await messages.messages.create(**body)  # type: ignore[call-overload]
    assert overloaded.value.status_code == 529
    cloud.behave(faults.raw(520, b"<html>", "text/html"))
    with pytest.raises(anthropic.APIStatusError) as broken:
        await messages.messages.create(**body)  # type: ignore[call-overload]
    assert broken.value.body["error"]["type"] == "api_error"  # type: ignore[index]


async def test_a_stream_of_messages_that_breaks_off(
    gateway: RunningGateway, messages: anthropic.AsyncAnthropic, cloud: ScriptedBackend
) -> None:
    cloud.behave(Message(after=6))
    with pytest.raises(anthropic.APIStatusError, match="ended its stream"):
        async with messages.messages.stream(model=MODEL, max_tokens=9, messages=HELLO) as stream:
            await stream.get_final_message()
    gateway.runtime.history.settle()
    spent = await gateway.runtime.ledger.report(None, "backend")
    assert spent.rows[0].usd_estimated > 0
    assert spent.reserved_usd == 0


@pytest.mark.parametrize("streams", [True, False])
async def test_failover_from_native_to_translated_and_back(
    cloud: ScriptedBackend, local: ScriptedBackend, streams: bool
) -> None:
    backends = [paid(cloud, priority=1), backend_entry("local", local.url, priority=2)]
    turn = {"role": "assistant", "content": [claude.thinking("hm", ""), claude.text("I see.")]}
    body = {
        "model": MODEL,
        "max_tokens": 9,
        "messages": [*HELLO, turn, *HELLO],
        "speed": "fast",
        "stream": streams,
    }
    async with running_gateway(
        backends, environ={"ANTHROPIC_API_KEY": KEY}, routing={"strategy": "priority_only"}
    ) as gateway:
        overloaded = {"type": "overloaded_error", "message": "Overloaded"}
        event = {"type": "error", "error": overloaded}
        cloud.behave(
            Message(after=1, last=event)
            if streams
            else claude.fault(529, "overloaded_error", "Overloaded"),
            times=1,
        )
        answer = await post(gateway, body, "/v1/messages")
        assert answer.headers["x-nexus-backend"] == "local"
        assert "message_stop" in answer.text or answer.json()["content"][0]["text"]
        assert local.generations[0].path == CHAT
        assert "speed: has no counterpart in chat" in last(gateway).notes
        local.behave(faults.status(500, "boom"))
        answer = await post(gateway, body, "/v1/messages")
        assert answer.headers["x-nexus-backend"] == "cloud"
        kept = cloud.generations[-1].json["messages"][1]["content"]
        assert kept == [claude.text("I see.")], "what nobody signed is kept from Anthropic"
        assert len(last(gateway).notes) == 1


async def test_translated_first_then_native(cloud: ScriptedBackend, local: ScriptedBackend) -> None:
    backends = [paid(cloud, priority=2), backend_entry("local", local.url, priority=1)]
    async with running_gateway(
        backends, environ={"ANTHROPIC_API_KEY": KEY}, routing={"strategy": "priority_only"}
    ) as gateway:
        local.behave(Answer(finish=None, done=False, text=()))
        body = {"model": MODEL, "max_tokens": 9, "messages": HELLO, "stream": True}
        answer = await post(gateway, body, "/v1/messages")
        assert answer.headers["x-nexus-backend"] == "cloud"
        assert answer.content == b"".join(map(claude.framed, Message().events(body)))


async def test_anthropic_counts_tokens_where_it_would_answer(
    messages: anthropic.AsyncAnthropic, gateway: RunningGateway, cloud: ScriptedBackend
) -> None:
    path = "/v1/messages/count_tokens"
    cloud.routes[path] = {"input_tokens": 4711}
    told = await messages.messages.count_tokens(
        model="mine", messages=HELLO, extra_headers={"anthropic-beta": "one"}
    )
    assert told.input_tokens == 4711
    (asked,) = [request for request in cloud.requests if request.path == path]
    assert (asked.header("x-api-key"), asked.header("anthropic-beta")) == (KEY, "one")
    assert asked.json == {"model": MODEL, "messages": HELLO}
    body = {"model": MODEL, "messages": HELLO}
    counted_by = "x-nexus-tokens-counted-by"
    assert (await post(gateway, body, path)).headers[counted_by] == "backend"
    for headers in ({"x-nexus-zone": "restricted"}, {}):
        answer = await post(gateway, body, path, headers)
        assert answer.headers[counted_by] == "estimate"
        cloud.routes[path] = claude.fault(529, "overloaded_error", "Overloaded")
    assert len([request for request in cloud.requests if request.path == path]) == 3
