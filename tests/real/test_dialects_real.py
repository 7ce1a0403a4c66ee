"""Responses and Ollama's dialect, each by its own SDK, through Nexus, to a real llama.cpp."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

import nexus_proxy.demo
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.llama import LlamaServer

pytestmark = pytest.mark.real

TEMPLATE = Path(nexus_proxy.demo.__file__).with_name("chat.jinja").read_text(encoding="utf-8")
FRANCE = "What is the capital of France?"
CITY: Any = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}},
    "required": ["city"],
}


@pytest.fixture
async def gateway(llama_server: Callable[..., LlamaServer]) -> AsyncIterator[RunningGateway]:
    llama = llama_server(chat_template=TEMPLATE, embeddings=True)
    async with running_gateway([backend_entry("llama", llama.url, type="llamacpp")]) as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
async def test_responses(gateway: RunningGateway, stream: bool) -> None:
    asked: Any = {"model": "smollm2", "temperature": 0, "max_output_tokens": 40}
    tools: Any = [{"type": "function", "name": "get_weather", "parameters": CITY, "strict": False}]
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any") as sdk:

        async def ask(**fields: Any) -> Any:
            if not stream:
                return await sdk.responses.create(**asked, **fields)
            async with sdk.responses.stream(**asked, **fields) as events:
                return await events.get_final_response()

        plain = await ask(input=FRANCE)
        weather = [
            {"role": "user", "content": "What is the weather in Paris?"},
            # Prefilled: a model this small would talk first and forget to call.
            {"role": "assistant", "content": "<tool_call>\n"},
        ]
        called = await ask(input=weather, tools=tools, tool_choice="required")
    assert "Paris" in plain.output_text
    assert (plain.status, plain.usage.input_tokens) == ("completed", 27)
    (call,) = [item for item in called.output if item.type == "function_call"]
    assert json.loads(call.arguments) == {"city": "Paris"}


async def test_ollama(gateway: RunningGateway) -> None:
    options = {"temperature": 0, "num_predict": 12}
    france = [{"role": "user", "content": FRANCE}]
    async with ollama.AsyncClient(gateway.url, trust_env=False) as client:
        whole = await client.chat("smollm2", france, options=options)
        pieces = [
            piece
            async for piece in await client.chat("smollm2", france, stream=True, options=options)
        ]
        formed = await client.chat("smollm2", france, format=CITY, options={"temperature": 0})
        written = await client.generate("smollm2", FRANCE, options=options)
        embedded = await client.embed("smollm2", ["Paris", "Rome"])
    assert "Paris" in (whole.message.content or "")
    assert "".join(piece.message.content or "" for piece in pieces) == whole.message.content
    assert (pieces[-1].eval_count, pieces[-1].done_reason) == (whole.eval_count, "stop")
    assert (whole.eval_duration or 0) > 0
    assert json.loads(formed.message.content or "")["city"]
    assert written.response == whole.message.content
    assert [len(vector) for vector in embedded.embeddings] == [576, 576]
