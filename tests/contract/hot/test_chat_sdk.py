"""Chat through the official `openai` SDK: what the backend said is what the SDK hands out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterable, Callable
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from tests.contract.hot.asking import HELLO
from tests.support.scripted import Answer, Cut, ScriptedBackend, ToolCall

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": True,
    },
}
CALLS = (ToolCall("get_weather", '{"city": "Paris"}'), ToolCall("get_weather", '{"city":"Rome"}'))
IMAGE = "data:image/png;base64," + "iVBORw0KGgo" * 2000


def text_of(chunks: list[ChatCompletionChunk], index: int = 0) -> str:
    # A progress event of some vendor has no choices at all.
    choices = [c for chunk in chunks for c in chunk.choices or [] if c.index == index]
    return "".join(choice.delta.content or "" for choice in choices)


async def read(stream: AsyncIterable[ChatCompletionChunk], into: list[Any]) -> None:
    """Keeps what came before the stream raised."""
    async for chunk in stream:
        into.append(chunk)  # noqa: PERF401


async def test_a_whole_answer(sdk: openai.AsyncOpenAI, backend: ScriptedBackend) -> None:
    answer = await sdk.chat.completions.create(model="m", messages=HELLO)
    assert answer.choices[0].message.content == "Hello from one."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 7
    assert answer.model == "m"
    assert backend.generations[0].json == {"model": "m", "messages": HELLO}


async def test_the_blocking_client(
    sync_sdk: Callable[[], openai.OpenAI], backend: ScriptedBackend
) -> None:
    def talk() -> tuple[str | None, list[ChatCompletionChunk]]:
        client = sync_sdk()
        whole = client.chat.completions.create(model="m", messages=HELLO)
        with client.chat.completions.create(model="m", messages=HELLO, stream=True) as stream:
            return whole.choices[0].message.content, list(stream)

    whole, chunks = await asyncio.to_thread(talk)
    assert whole == text_of(chunks) == "Hello from one."
    assert len(backend.generations) == 2


@pytest.mark.parametrize("asks_usage", [True, False])
async def test_a_stream(sdk: openai.AsyncOpenAI, asks_usage: bool) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asks_usage else {}
    stream = await sdk.chat.completions.create(model="m", messages=HELLO, stream=True, **options)
    chunks = [chunk async for chunk in stream]
    assert text_of(chunks) == "Hello from one."
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.completion_tokens for usage in told] == ([4] if asks_usage else [])
    assert all(chunk.choices for chunk in chunks[:-1])
    finished = chunks[-2 if asks_usage else -1]
    assert finished.choices[0].finish_reason == "stop"


async def test_pieces_of_tool_calls_arrive_as_they_were_sent(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(text=(), tool_calls=CALLS))
    stream = await sdk.chat.completions.create(
        model="m", messages=HELLO, tools=[WEATHER], stream=True
    )
    deltas = [
        (call.index, call.id, call.function.name, call.function.arguments)
        for chunk in [chunk async for chunk in stream]
        for call in chunk.choices[0].delta.tool_calls or []
        if call.function is not None
    ]
    assert deltas == [
        (0, "call_0", "get_weather", ""),
        (0, None, None, '{"city":'),
        (0, None, None, ' "Paris"}'),
        (1, "call_1", "get_weather", ""),
        (1, None, None, '{"city"'),
        (1, None, None, ':"Rome"}'),
    ]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_whole_tool_loop(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, stream: bool
) -> None:
    backend.behave(Answer(text=(), tool_calls=CALLS[:1]), times=1)
    messages = [*HELLO]
    async with (
        sdk.chat.completions.stream(model="m", messages=messages, tools=[WEATHER])
        if stream
        else _Whole(sdk, messages) as answering
    ):
        first = await answering.get_final_completion()
    message = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Paris"}

    messages.append(message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny"})
    second = await sdk.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "Hello from one."
    asked, told = backend.generations[1].json["messages"][-2:]
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"] == "call_0"
    assert asked["tool_calls"][0]["function"]["arguments"] == '{"city": "Paris"}'
    assert backend.generations[1].json["tools"] == [WEATHER]


class _Whole:
    """A request without a stream, with the face of the SDK's stream helper."""

    def __init__(self, sdk: openai.AsyncOpenAI, messages: list[Any]) -> None:
        self._asking = sdk.chat.completions.create(model="m", messages=messages, tools=[WEATHER])

    async def __aenter__(self) -> _Whole:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        return None

    async def get_final_completion(self) -> Any:
        return await self._asking


class City(BaseModel):
    """What the structured answer holds."""

    name: str
    people: int


async def test_a_json_schema_is_passed_on_and_its_answer_parsed(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(text=('{"name":"Pa', 'ris","people":', "2000000}")))
    answer = await sdk.chat.completions.parse(model="m", messages=HELLO, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Paris", people=2_000_000)
    schema = backend.generations[0].json["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["properties"].keys() == {"name", "people"}


async def test_pictures_reach_the_backend_as_they_are(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    parts: Any = [
        {"type": "text", "text": "what is it?"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.test/cat.png"}},
    ]
    messages: Any = [{"role": "user", "content": parts}]
    await sdk.chat.completions.create(model="m", messages=messages)
    assert backend.generations[0].json["messages"] == messages


@pytest.mark.parametrize("stream", [False, True])
async def test_several_choices_with_log_probabilities(
    sdk: openai.AsyncOpenAI, stream: bool
) -> None:
    options: Any = {"model": "m", "messages": HELLO, "n": 2, "logprobs": True, "top_logprobs": 1}
    if stream:
        pieces = await sdk.chat.completions.create(stream=True, **options)
        chunks = [chunk async for chunk in pieces]
        texts = [text_of(chunks, index) for index in (0, 1)]
        tokens = [
            token.token
            for chunk in chunks
            if chunk.choices[0].index == 1 and chunk.choices[0].logprobs is not None
            for token in chunk.choices[0].logprobs.content or []
        ]
    else:
        answer = await sdk.chat.completions.create(**options)
        texts = [choice.message.content or "" for choice in answer.choices]
        told = answer.choices[1].logprobs
        assert told is not None
        tokens = [token.token for token in told.content or []]
    assert texts == ["Hello from one."] * 2
    assert tokens == ["Hello", " from", " one", "."]


async def test_one_finished_choice_of_two_is_no_end(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(cut=Cut.CLEAN_EOF, after=8))
    stream = await sdk.chat.completions.create(model="m", messages=HELLO, n=2, stream=True)
    seen: list[ChatCompletionChunk] = []
    with pytest.raises(openai.APIError, match="without the last finish reason"):
        await read(stream, seen)
    assert text_of(seen, 0) == "Hello from one."
    assert text_of(seen, 1) == "Hello"
    backend.behave(Answer(done=False))
    stream = await sdk.chat.completions.create(model="m", messages=HELLO, n=2, stream=True)
    assert text_of([chunk async for chunk in stream], 1) == "Hello from one."


async def test_options_reach_the_backend(sdk: openai.AsyncOpenAI, backend: ScriptedBackend) -> None:
    extra = {"top_k": 5, "min_p": 0.05, "chat_template_kwargs": {"enable_thinking": False}}
    for stop in ("END", ["a", "b"]):
        await sdk.chat.completions.create(
            model="m", messages=HELLO, stop=stop, seed=7, temperature=0, extra_body=extra
        )
        asked = backend.generations[-1].json
        assert asked["stop"] == stop
        assert (asked["seed"], asked["temperature"]) == (7, 0)
        assert {key: asked[key] for key in extra} == extra


async def test_fields_that_no_specification_knows_come_back(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(noise=True, reasoning=("hm, ", "aha")))
    answer = await sdk.chat.completions.create(model="m", messages=HELLO)
    assert answer.model_extra is not None
    assert answer.model_extra["x_vendor"] == {"deep": [1, {"a": None}]}
    assert answer.choices[0].message.model_extra == {"reasoning_content": "hm, aha"}
    stream = await sdk.chat.completions.create(model="m", messages=HELLO, stream=True)
    chunks = [chunk async for chunk in stream]
    thoughts = [
        (chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "")
        for chunk in chunks
        if chunk.choices
    ]
    assert "".join(thoughts) == "hm, aha"
    assert text_of(chunks) == "Hello from one."


@pytest.mark.parametrize(
    ("model", "kind"),
    [("nobody", openai.NotFoundError), ("", openai.BadRequestError)],
)
async def test_errors_are_the_sdks_own(
    sdk: openai.AsyncOpenAI, model: str, kind: type[openai.APIStatusError]
) -> None:
    for stream in (False, True):
        with pytest.raises(kind) as caught:
            await sdk.chat.completions.create(model=model, messages=HELLO, stream=stream)
        assert caught.value.param == "model"
        assert caught.value.request_id == caught.value.response.headers["x-request-id"]
