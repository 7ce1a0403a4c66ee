"""A backend that speaks Gemini's API, behind the gateway, by the real SDKs, with what it costs."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.contract.hot.asking import CLIENT_KEY, EMBEDDINGS, HELLO, error_of, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend, gemini
from tests.support.scripted.gemini import Generated

KEY = "AIza-test-0123456789"
MODEL, EMBEDDER = "gemini-2.5-flash", "gemini-embedding-001"
COST = (7 * 0.3 + 100 * 0.03 + 11 * 2.5) / 1e6
"""Of the scripted answer, by Google's price list."""
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture
async def cloud() -> AsyncIterator[ScriptedBackend]:
    models = [
        gemini.model(MODEL, thinking=True),
        gemini.model(EMBEDDER, serves="embedContent"),
    ]
    async with ScriptedBackend(
        [MODEL, EMBEDDER], api_key=KEY, routes={"/v1beta/models": {"models": models}}
    ) as one:
        one.behave(Generated())
        yield one


@pytest.fixture
async def gateway(cloud: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    """Serves Gemini, also as `mine`."""
    named = {"type": "google", "api_key_env": "GEMINI_API_KEY"}
    async with running_gateway(
        [backend_entry("cloud", cloud.url, **named)],
        environ={"GEMINI_API_KEY": KEY},
        routing={"aliases": {"mine": MODEL}, "max_retries": 0},
    ) as running:
        yield running


@pytest.mark.parametrize("streams", [True, False])
async def test_a_tool_loop_of_chat(
    sdk: openai.AsyncOpenAI, cloud: ScriptedBackend, gateway: RunningGateway, streams: bool
) -> None:
    parts = [
        gemini.thought("Where is it?"),
        gemini.text("I look."),
        gemini.call("look", gemini.SIGNATURE, at="door"),
        gemini.call("look"),
    ]
    cloud.behave(Generated(parts=parts), times=1)
    asked: Any = {"model": "mine", "tools": [TOOL]}
    if streams:
        async with sdk.chat.completions.stream(
            messages=HELLO, stream_options={"include_usage": True}, **asked
        ) as stream:
            answer: Any = await stream.get_final_completion()
    else:
        answer = await sdk.chat.completions.create(messages=HELLO, **asked)
    message = answer.choices[0].message
    assert (answer.model, answer.choices[0].finish_reason) == ("mine", "tool_calls")
    assert (message.content, message.reasoning_content) == ("I look.", "Where is it?")
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (107, 11)
    calls = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.function.name, "arguments": call.function.arguments},
        }
        for call in message.tool_calls
    ]
    turns: list[Any] = [
        *HELLO,
        {"role": "assistant", "content": message.content, "tool_calls": calls},
        *({"role": "tool", "tool_call_id": call["id"], "content": "dark"} for call in calls),
    ]
    again = await sdk.chat.completions.create(messages=turns, **asked)
    assert again.choices[0].message.content == "Hello there."
    verb = "streamGenerateContent" if streams else "generateContent"
    first, second = cloud.generations
    assert (first.path, second.path) == (
        f"/v1beta/models/{MODEL}:{verb}",
        f"/v1beta/models/{MODEL}:generateContent",
    )
    assert (second.header("x-goog-api-key"), second.header("authorization")) == (KEY, None)
    back = second.json["contents"][1]["parts"]
    assert back[1]["thoughtSignature"] == gemini.SIGNATURE
    gateway.runtime.history.settle()
    spent = await gateway.runtime.ledger.report(None, "backend")
    assert spent.rows[0].usd_measured == pytest.approx(2 * COST)


async def test_claude_code_could_use_it(gateway: RunningGateway) -> None:
    async with (
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key=CLIENT_KEY, max_retries=0) as client,
        client.messages.stream(model="mine", max_tokens=9, messages=HELLO) as stream,
    ):
        answer = await stream.get_final_message()
    assert answer.content[0].text == "Hello there."  # type: ignore[union-attr]
    assert (answer.model, answer.usage.cache_read_input_tokens) == ("mine", 100)


async def test_embeddings_go_to_the_compatible_api(
    gateway: RunningGateway, cloud: ScriptedBackend
) -> None:
    cloud.behave(Answer())
    answer = await post(gateway, {"model": EMBEDDER, "input": "hi"}, EMBEDDINGS)
    assert answer.json()["data"][0]["embedding"]
    sent = cloud.generations[0]
    assert sent.path == "/v1beta/openai/embeddings"
    assert sent.header("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (gemini.fault(400, "INVALID_ARGUMENT", "Bad schema", listed=True), 400, 400),
        (gemini.fault(429, "RESOURCE_EXHAUSTED", "Slow down", retry="17.5s"), 429, 429),
        (
            gemini.fault(
                400,
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (5).",
            ),
            400,
            "context_length_exceeded",
        ),
        (Generated(finish="MALFORMED_FUNCTION_CALL"), 502, "upstream_invalid_response"),
    ],
)
async def test_errors_are_told_in_chats_form(
    gateway: RunningGateway, cloud: ScriptedBackend, fault: Any, status: int, code: Any
) -> None:
    cloud.behave(fault)
    answer = await post(gateway, {"model": MODEL, "messages": HELLO})
    error_of(answer, status, code)
    if status == 429:
        assert answer.headers["retry-after"] == "18"
        assert gateway.runtime.registry.get("cloud").busy_until > 0


async def test_a_stream_that_breaks_off_is_no_answer(
    sdk: openai.AsyncOpenAI, cloud: ScriptedBackend
) -> None:
    error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
    for behaviour, words in (
        (Generated(after=2), "without the last finish reason"),
        (Generated(after=2, last=error), "overloaded"),
        (Generated(after=2, last=[error]), "overloaded"),
    ):
        cloud.behave(behaviour)
        with pytest.raises(openai.APIError, match=words):
            async for _ in await sdk.chat.completions.create(
                model=MODEL, messages=HELLO, stream=True
            ):
                pass


async def test_what_was_dropped_is_told_by_why(gateway: RunningGateway) -> None:
    body = {"model": MODEL, "messages": HELLO, "service_tier": "flex"}
    assert json.loads((await post(gateway, body)).content)["choices"]
    assert gateway.runtime.history.newest(1)[0].notes == (
        "service_tier: has no counterpart in Gemini's API",
    )
