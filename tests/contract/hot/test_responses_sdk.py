"""`/v1/responses` through the official `openai` SDK, on a backend that speaks chat only."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.contract.hot.asking import post
from tests.contract.keys.world import OTHER, SECRET, key_table, keyed
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, ToolCall, faults

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
RESPONSES = "/v1/responses"
PARIS = ToolCall("get_weather", '{"city": "Paris"}')


async def ask(sdk: openai.AsyncOpenAI, stream: bool, **fields: Any) -> Any:
    asked: Any = {"model": "m", **fields}
    if not stream:
        return await sdk.responses.create(**asked)
    async with sdk.responses.stream(**asked) as events:
        return await events.get_final_response()


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, gateway: RunningGateway, stream: bool
) -> None:
    answer = await ask(sdk, stream, input="hi", instructions="Be brief.", text={"verbosity": "low"})
    assert answer.output_text == "Hello from one."
    assert (answer.model, answer.status) == ("m", "completed")
    assert answer.usage.input_tokens == 7
    assert backend.generations[0].json["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
    ]
    told = gateway.runtime.history.newest(1)[0]
    assert told.endpoint == "responses"
    assert told.notes == ("left out text.verbosity",)
    assert told.usage_source == "measured"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_whole_tool_loop(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, stream: bool
) -> None:
    backend.behave(Answer(text=(), tool_calls=(PARIS,)), times=1)
    asked: list[Any] = [{"role": "user", "content": "The weather?"}]
    first = await ask(sdk, stream, input=asked, tools=[WEATHER])
    (call,) = first.output
    assert (call.type, json.loads(call.arguments)) == ("function_call", {"city": "Paris"})
    made = call.model_dump(exclude_none=True, exclude={"parsed_arguments"})
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    second = await ask(sdk, stream, input=[*asked, made, result], tools=[WEATHER])
    assert second.output_text == "Hello from one."
    sent = backend.generations[1].json["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == call.call_id


@pytest.mark.parametrize("stream", [False, True])
async def test_items_of_an_answer_can_be_referred_to(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, stream: bool
) -> None:
    """As the Vercel AI SDK does unless it is told `store: false`."""
    backend.behave(Answer(text=("Let me see.",), reasoning=("Hm.",), tool_calls=(PARIS,)), times=1)
    asked: list[Any] = [{"role": "user", "content": "The weather?"}]
    first = await ask(sdk, stream, input=asked, tools=[WEATHER])
    asked += [{"type": "item_reference", "id": item.id} for item in first.output]
    call_id = first.output[-1].call_id
    asked.append({"type": "function_call_output", "call_id": call_id, "output": "sunny"})
    second = await ask(sdk, stream, input=asked, tools=[WEATHER])
    assert second.output_text == "Hello from one."
    _, answer, result = backend.generations[1].json["messages"]
    assert (answer["reasoning_content"], answer["content"]) == ("Hm.", "Let me see.")
    assert answer["tool_calls"][0]["function"]["arguments"] == PARIS.arguments
    assert answer["tool_calls"][0]["id"] == result["tool_call_id"]


async def test_nobody_else_and_nothing_unasked_is_referred_to(backend: ScriptedBackend) -> None:
    async with keyed(backend, key_table("a"), key_table("b", OTHER)) as gateway:

        def as_(secret: str) -> openai.AsyncOpenAI:
            url = f"{gateway.url}/v1"
            return openai.AsyncOpenAI(base_url=url, api_key=secret, max_retries=0)

        async with as_(SECRET) as mine, as_(OTHER) as theirs:
            for sdk, more in ((mine, {"store": False}), (theirs, {})):
                kept = await ask(mine, False, input="hi", **more)
                reference: Any = {"type": "item_reference", "id": kept.output[0].id}
                with pytest.raises(openai.BadRequestError, match="store = false"):
                    await ask(sdk, False, input=[reference])


async def test_a_reference_reaches_a_backend_that_is_sent_requests_as_they_are(
    backend: ScriptedBackend,
) -> None:
    """As the item itself: OpenAI has not heard of what another backend answered."""
    async with ScriptedBackend(["m"], name="cloud") as cloud:
        entries = [
            backend_entry("one", backend.url, priority=1),
            backend_entry("cloud", cloud.url, priority=2, type="openai", zone="restricted"),
        ]
        async with running_gateway(entries, routing={"strategy": "priority_only"}) as gateway:
            first = (await post(gateway, {"model": "m", "input": "hi"}, RESPONSES)).json()
            (item,) = first["output"]
            backend.behave(faults.status(503))
            cloud.behave(faults.status(400))
            given = [{"type": "item_reference", "id": item["id"]}, {"role": "user", "content": "?"}]
            await post(gateway, {"model": "m", "input": given}, RESPONSES)
        assert cloud.generations[0].path == RESPONSES
        assert cloud.generations[0].json["input"] == [item, given[1]]


async def test_a_stream_that_breaks_raises(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(cut=Cut.CLOSE, after=2))
    stream = await sdk.responses.create(model="m", input="hi", stream=True)
    with pytest.raises(openai.APIError, match="one"):
        async for _ in stream:
            pass


async def test_refusals_come_in_the_form_of_the_sdk(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    with pytest.raises(openai.BadRequestError, match="keeps none") as caught:
        await sdk.responses.create(model="m", input="hi", previous_response_id="resp_1")
    assert caught.value.param == "previous_response_id"
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.create(model="nobody-has-it", input="hi")
    backend.behave(faults.status(429))
    with pytest.raises(openai.RateLimitError):
        await sdk.responses.create(model="m", input="hi")
