"""LangChain on a backend that speaks chat only: its agents' loop, in both of OpenAI's dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import reduce
from operator import add
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import SecretStr

from tests.contract.hot.asking import CLIENT_KEY
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, ToolCall
from tests.support.scripted.payloads import EMBEDDING_SIZE


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@pytest.fixture
async def settings(gateway: RunningGateway) -> AsyncIterator[dict[str, Any]]:
    """How a client is made; left to itself, LangChain keeps one pool of connections for ever."""
    async with openai.DefaultAsyncHttpxClient() as pool:
        yield {
            "model": "m",
            "base_url": f"{gateway.url}/v1",
            "api_key": SecretStr(CLIENT_KEY),
            "http_async_client": pool,
        }


@pytest.fixture(params=[{}, {"use_responses_api": True}], ids=["chat", "responses"])
def llm(request: pytest.FixtureRequest, settings: dict[str, Any]) -> ChatOpenAI:
    return ChatOpenAI(**settings, **request.param, stream_usage=True, max_retries=0)


async def streamed(llm: Any, said: list[Any]) -> AIMessageChunk:
    whole: AIMessageChunk = reduce(add, [chunk async for chunk in llm.astream(said)])
    return whole


async def whole(llm: Any, said: list[Any]) -> AIMessage:
    answer: AIMessage = await llm.ainvoke(said)
    return answer


@pytest.mark.parametrize("ask", [whole, streamed])
async def test_a_whole_tool_loop(llm: ChatOpenAI, backend: ScriptedBackend, ask: Any) -> None:
    calls = (ToolCall("weather", '{"city": "Rome"}'), ToolCall("weather", '{"city": "Oslo"}'))
    backend.behave(Answer(text=("Let me see.",), tool_calls=calls), times=1)
    agent = llm.bind_tools([weather])
    said: list[Any] = [HumanMessage("The weather?")]
    said.append(await ask(agent, said))
    assert said[-1].text == "Let me see."
    said += [
        ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        for call in said[-1].tool_calls
    ]
    last = await ask(agent, said)
    assert last.text == "Hello from one."
    assert last.usage_metadata is not None
    assert last.usage_metadata["input_tokens"] == 7
    _, answer, *results = backend.generations[1].json["messages"]
    assert [result["content"] for result in results] == ["sunny in Rome", "sunny in Oslo"]
    ids = [call["id"] for call in answer["tool_calls"]]
    assert [result["tool_call_id"] for result in results] == ids


async def test_a_stream_that_breaks_raises(llm: ChatOpenAI, backend: ScriptedBackend) -> None:
    backend.behave(Answer(cut=Cut.CLOSE, after=2))
    with pytest.raises(openai.APIError, match="one"):
        await streamed(llm, [HumanMessage("hi")])


async def test_embeddings(settings: dict[str, Any]) -> None:
    """With `check_embedding_ctx_length` it sends the numbers of OpenAI's tokens."""
    embeddings = OpenAIEmbeddings(**settings, check_embedding_ctx_length=False)
    vectors = await embeddings.aembed_documents(["a", "b"])
    assert [(len(vector), vector[0]) for vector in vectors] == [
        (EMBEDDING_SIZE, 0.0),
        (EMBEDDING_SIZE, 1.0),
    ]
