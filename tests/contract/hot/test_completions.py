"""Text completions and embeddings through the official SDK and plain HTTP."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import openai
import pytest

from tests.contract.hot.asking import EMBEDDINGS, body_for, post
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, faults

TOKENS = [15339, 1917]
PROMPTS: list[Any] = ["say hi", ["say hi", "say ho"], TOKENS, [TOKENS, [9]]]


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_prompts_of_all_forms(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, prompt: Any
) -> None:
    answer = await sdk.completions.create(model="m", prompt=prompt, echo=False, suffix="!")
    assert {choice.text for choice in answer.choices} == {"Hello from one."}
    assert backend.generations[0].json["prompt"] == prompt
    assert len(answer.choices) == (1 if prompt in (PROMPTS[0], PROMPTS[2]) else 2)


async def test_a_streamed_completion(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.completions.create(model="m", prompt="x", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello from one."
    assert chunks[-1].choices[0].finish_reason == "stop"


async def test_a_broken_completion_ends_in_its_own_shape(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, gateway: RunningGateway
) -> None:
    backend.behave(Answer(cut=Cut.CLOSE, after=2))
    stream = await sdk.completions.create(model="m", prompt="x", stream=True)
    with pytest.raises(openai.APIError, match="closed the connection"):
        async for _chunk in stream:
            pass
    body = {"model": "m", "prompt": "x", "stream": True}
    raw = (await post(gateway, body, "/v1/completions")).content
    last = json.loads(raw.strip().rsplit(b"data: ", 1)[1])
    assert last["object"] == "text_completion"
    assert last["choices"] == [{"index": 0, "text": "", "finish_reason": "error"}]


@pytest.mark.parametrize("value", PROMPTS)
async def test_inputs_of_all_forms(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend, value: Any
) -> None:
    answer = await sdk.embeddings.create(model="m", input=value)
    asked = backend.generations[0].json
    assert asked["input"] == value
    assert asked["encoding_format"] == "base64", "the SDK's default"
    count = 1 if value in (PROMPTS[0], PROMPTS[2]) else 2
    assert [(item.index, item.embedding[0]) for item in answer.data] == [
        (index, float(index)) for index in range(count)
    ]


async def test_dimensions_are_passed_on(sdk: openai.AsyncOpenAI, backend: ScriptedBackend) -> None:
    answer = await sdk.embeddings.create(model="m", input="x", dimensions=3)
    assert answer.data[0].embedding == [0.0, 0.5, 0.5]
    assert backend.generations[0].json["dimensions"] == 3


VECTORS = [[0.0, 1.5, -2.25], [1e-8, 3.0, 0.1]]
FLOATS = json.dumps(
    {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(VECTORS)
        ],
        "model": "m",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }
).encode()


async def test_base64_is_made_where_the_backend_does_not_know_it(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(faults.raw(200, FLOATS))
    told = (await post(gateway, body_for(EMBEDDINGS, encoding_format="base64"), EMBEDDINGS)).json()
    packed = [base64.b64decode(item["embedding"]) for item in told["data"]]
    assert packed == [struct.pack("<3f", *vector) for vector in VECTORS]
    assert told["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize("wish", [{}, {"encoding_format": "float"}])
async def test_floats_stay_floats(
    gateway: RunningGateway, backend: ScriptedBackend, wish: dict[str, str]
) -> None:
    backend.behave(faults.raw(200, FLOATS))
    answer = await post(gateway, body_for(EMBEDDINGS, **wish), EMBEDDINGS)
    assert answer.content == FLOATS


async def test_the_sdk_reads_what_such_a_backend_says(
    sdk: openai.AsyncOpenAI, backend: ScriptedBackend
) -> None:
    backend.behave(faults.raw(200, FLOATS))
    answer = await sdk.embeddings.create(model="m", input=["a", "b"])
    assert answer.data[0].embedding == VECTORS[0]
    assert answer.data[1].embedding == pytest.approx(VECTORS[1])


async def test_an_embedding_is_no_stream_whatever_is_asked(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(faults.raw(200, FLOATS))
    answer = await post(gateway, body_for(EMBEDDINGS, stream=True), EMBEDDINGS)
    assert answer.content == FLOATS
