"""`/v1/responses` through the official `openai` SDK, on a backend that speaks chat only."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, ToolCall, faults

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
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
