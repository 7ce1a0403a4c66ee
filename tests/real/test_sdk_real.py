"""The official `openai` SDK, through Nexus, to a real llama.cpp with a real small model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel, Field

import nexus_proxy.demo
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.llama import LlamaServer

pytestmark = pytest.mark.real

TEMPLATE = Path(nexus_proxy.demo.__file__).with_name("chat.jinja").read_text(encoding="utf-8")
FRANCE: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
SHORT: dict[str, Any] = {"temperature": 0, "seed": 1, "max_tokens": 12}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
ASKS_FOR_WEATHER: list[Any] = [
    {"role": "user", "content": "What is the weather in Paris?"},
    # Prefilled: a model this small would talk first and forget to call.
    {"role": "assistant", "content": "<tool_call>\n"},
]


@pytest.fixture
def llama(llama_server: Callable[..., LlamaServer]) -> LlamaServer:
    """Chat with tools, and embeddings, as the demo's server."""
    return llama_server(chat_template=TEMPLATE, embeddings=True)


@pytest.fixture
async def gateway(llama: LlamaServer) -> AsyncIterator[RunningGateway]:
    async with running_gateway([backend_entry("llama", llama.url, type="llamacpp")]) as running:
        yield running


@pytest.fixture
async def sdk(gateway: RunningGateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=60
    ) as client:
        yield client


async def direct(llama: LlamaServer, path: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        return await client.post(llama.url + path, json=body)


async def test_chat(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.create(model="smollm2", messages=FRANCE, **SHORT)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8


async def test_chat_with_the_blocking_client(gateway: RunningGateway) -> None:
    def talk() -> tuple[str, str]:
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client:
            whole = client.chat.completions.create(model="smollm2", messages=FRANCE, **SHORT)
            stream = client.chat.completions.create(
                model="smollm2", messages=FRANCE, stream=True, **SHORT
            )
            pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
        return whole.choices[0].message.content or "", "".join(pieces)

    whole, streamed = await asyncio.to_thread(talk)
    assert whole == streamed
    assert "Paris" in whole


@pytest.mark.parametrize("asks_usage", [False, True])
async def test_a_stream_and_what_it_cost(
    sdk: openai.AsyncOpenAI, gateway: RunningGateway, asks_usage: bool
) -> None:
    options: Any = {"stream_options": {"include_usage": True}} if asks_usage else {}
    stream = await sdk.chat.completions.create(
        model="smollm2", messages=FRANCE, stream=True, **SHORT, **options
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert "Paris" in text
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [asks_usage]
    told = gateway.runtime.history.newest(1)[0]
    assert (told.completion_tokens, told.usage_source) == (8, "measured")
    assert told.prompt_tokens == 27
    assert told.first_token_ms is not None


async def test_a_stream_is_what_the_server_sends(
    llama: LlamaServer, gateway: RunningGateway
) -> None:
    """Same events, same keys in the same order: only ids, times and speeds differ."""
    body = {"model": "smollm2", "messages": FRANCE, "stream": True, **SHORT}
    expected = (await direct(llama, "/v1/chat/completions", body)).text
    got = (await gateway.client.post("/v1/chat/completions", json=body)).text
    assert [shape_of(event) for event in got.split("\n\n")] == [
        shape_of(event) for event in expected.split("\n\n")
    ]
    assert '"timings"' in got


def shape_of(event: str) -> str:
    """The event with what differs from run to run taken out."""
    data = event.removeprefix("data: ")
    if not data.startswith("{"):
        return event
    chunk = json.loads(data)
    for key in ("id", "created", "timings"):
        if key in chunk:
            chunk[key] = "…"
    return json.dumps(chunk)


WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": FRANCE}),
    ("/v1/chat/completions", {"messages": FRANCE, "n": 2, "logprobs": True, "top_logprobs": 2}),
    ("/v1/chat/completions", {"messages": FRANCE, "stop": ["France"]}),
    ("/v1/chat/completions", {"messages": FRANCE, "max_tokens": 2}),
    ("/v1/completions", {"prompt": "The capital of France is"}),
    ("/v1/completions", {"prompt": ["The capital of France is", "One two"], "logprobs": 1}),
    ("/v1/completions", {"prompt": [504, 3575, 282]}),
]


@pytest.mark.parametrize(("path", "fields"), WHOLE)
async def test_an_answer_out_of_a_stream_is_the_answer_without_one(
    llama: LlamaServer, gateway: RunningGateway, path: str, fields: dict[str, Any]
) -> None:
    """Nexus asks llama.cpp for a stream, so that a client that leaves frees its slot."""
    body = {"model": "smollm2", **SHORT, "cache_prompt": False, **fields}
    expected = (await direct(llama, path, body)).json()
    got = (await gateway.client.post(path, json=body)).json()
    assert rounded(got["choices"]) == rounded(expected["choices"])
    assert {key: type(value) for key, value in got.items()} == {
        key: type(value) for key, value in expected.items()
    }
    for key in ("object", "model"):
        assert got[key] == expected[key]
    if len(got["choices"]) == 1:
        assert got["usage"] == expected["usage"]
    assert got["timings"].keys() == expected["timings"].keys()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop(sdk: openai.AsyncOpenAI, stream: bool) -> None:
    asked: Any = {
        "model": "smollm2",
        "messages": ASKS_FOR_WEATHER,
        "tools": [WEATHER],
        "tool_choice": "required",
        "temperature": 0,
        "max_tokens": 64,
    }
    if stream:
        async with sdk.chat.completions.stream(**asked) as pieces:
            answer: Any = await pieces.get_final_completion()
    else:
        answer = await sdk.chat.completions.create(**asked)
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"city": "Paris"}
    assert call.id

    made = {"id": call.id, "type": "function", "function": call.function.model_dump()}
    messages = [
        ASKS_FOR_WEATHER[0],
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "tool_call_id": call.id, "content": "It is sunny in Paris."},
    ]
    second = await sdk.chat.completions.create(
        model="smollm2", messages=messages, tools=[WEATHER], **SHORT
    )
    assert second.choices[0].message.content


def rounded(value: Any) -> Any:
    """With two decimals, since probabilities differ a little from batch to batch, and without the
    end token, which has no text and of which llama.cpp tells the odds only outside of streams."""
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, list):
        return [rounded(item) for item in value if not _is_end(item)]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


def _is_end(item: Any) -> bool:
    return isinstance(item, dict) and item.get("token") == ""


class City(BaseModel):
    """A structured answer, short enough for a small model."""

    city: str = Field(max_length=12)


async def test_a_json_schema(sdk: openai.AsyncOpenAI) -> None:
    answer = await sdk.chat.completions.parse(
        model="smollm2", messages=FRANCE, response_format=City, temperature=0, max_tokens=40
    )
    parsed = answer.choices[0].message.parsed
    assert isinstance(parsed, City)
    assert parsed.city


async def test_embeddings_of_all_forms(sdk: openai.AsyncOpenAI) -> None:
    packed = await sdk.embeddings.create(model="smollm2", input=["Paris", "Rome"])
    plain = await sdk.embeddings.create(
        model="smollm2", input=["Paris", "Rome"], encoding_format="float"
    )
    assert [item.index for item in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == 576
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    tokens = await sdk.embeddings.create(model="smollm2", input=[504, 3575])
    assert len(tokens.data[0].embedding) == 576


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_that_is_too_long(
    sdk: openai.AsyncOpenAI, gateway: RunningGateway, stream: bool
) -> None:
    """Once refused by Nexus, which knows the context, and once by llama.cpp."""
    for text in ("word " * 4_000, "Q " * 2_500):
        messages: Any = [{"role": "user", "content": text}]
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.chat.completions.create(
                model="smollm2", messages=messages, stream=stream, **SHORT
            )
        assert caught.value.code == "context_length_exceeded"
        assert caught.value.param == "messages"
    told = [request.attempts for request in gateway.runtime.history.newest(2)]
    assert [len(attempts) for attempts in told] == [1, 0], "newest first"
    assert gateway.runtime.registry.get("llama").failures == 0


async def test_a_picture_is_not_sent_to_a_model_without_eyes(sdk: openai.AsyncOpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    messages: Any = [{"role": "user", "content": [image]}]
    with pytest.raises(openai.InternalServerError, match="cannot do vision") as caught:
        await sdk.chat.completions.create(model="smollm2", messages=messages)
    assert caught.value.status_code == 503
    assert caught.value.response.headers["x-should-retry"] == "false"


async def test_models(sdk: openai.AsyncOpenAI) -> None:
    (model,) = [model async for model in sdk.models.list()]
    assert model.id == "smollm2"
    one = await sdk.models.retrieve("smollm2")
    assert (one.model_extra or {})["context_length"] == 2048
