"""Ollama's own SDK, on a backend that speaks OpenAI's dialect only."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import ollama
import pytest

from tests.contract.hot.asking import HELLO
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, Cut, ScriptedBackend, ToolCall

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PARIS = ToolCall("get_weather", '{"city": "Paris"}')


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(gateway.url, trust_env=False) as asking:
        yield asking


async def test_chat(
    client: ollama.AsyncClient, backend: ScriptedBackend, gateway: RunningGateway
) -> None:
    answer = await client.chat("m", HELLO, options={"num_predict": 9, "num_ctx": 4096})
    assert answer.message.content == "Hello from one."
    assert (answer.model, answer.done_reason, answer.prompt_eval_count) == ("m", "stop", 7)
    sent = backend.generations[0].json
    assert sent["max_tokens"] == 9
    assert "options" not in sent
    told = gateway.runtime.history.newest(1)[0]
    assert told.notes == ("left out options that only Ollama has: num_ctx",)


async def test_a_stream_is_lines(client: ollama.AsyncClient, gateway: RunningGateway) -> None:
    pieces = [piece async for piece in await client.chat("m", HELLO, stream=True)]
    assert "".join(piece.message.content or "" for piece in pieces) == "Hello from one."
    assert [piece.done for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert pieces[-1].eval_count == 4
    plain = await gateway.client.post("/api/chat", json={"model": "m", "messages": HELLO})
    assert plain.headers["content-type"] == "application/x-ndjson"
    assert plain.text.count("\n") == len(pieces)


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({}, 200),
        ({"sec-fetch-mode": "cors"}, 200),
        ({"origin": "http://localhost:3000"}, 415),
        ({"sec-fetch-site": "same-origin"}, 415),
        ({"origin": "null"}, 403),
    ],
    ids=["curl", "node", "a page that may ask", "a browser", "a form of no page"],
)
async def test_programs_need_say_no_content_type_and_browsers_must(
    gateway: RunningGateway, more: dict[str, str], status: int
) -> None:
    """`curl -d` says that it sends a form, and that is how Ollama's own documentation asks."""
    headers = {"content-type": "application/x-www-form-urlencoded", **more}
    body = json.dumps({"model": "m", "messages": HELLO, "stream": False})
    answer = await gateway.client.post("/api/chat", content=body, headers=headers)
    assert answer.status_code == status
    assert ("error" in answer.json()) is (status != 200)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_whole_tool_loop(
    client: ollama.AsyncClient, backend: ScriptedBackend, stream: bool
) -> None:
    backend.behave(Answer(text=(), tool_calls=(PARIS,)), times=1)
    if stream:
        said = await client.chat("m", HELLO, tools=[WEATHER], stream=True)
        message = [p.message async for p in said if p.message.tool_calls][0]  # noqa: RUF015
    else:
        message = (await client.chat("m", HELLO, tools=[WEATHER])).message
    (call,) = message.tool_calls or ()
    assert call.function.arguments == {"city": "Paris"}
    result = {"role": "tool", "tool_name": "get_weather", "content": "sunny"}
    await client.chat("m", [*HELLO, message, result], tools=[WEATHER])
    sent = backend.generations[1].json["messages"]
    assert sent[-2]["tool_calls"][0]["id"] == sent[-1]["tool_call_id"]


async def test_generate(client: ollama.AsyncClient, backend: ScriptedBackend) -> None:
    answer = await client.generate("m", "Why?", system="Be brief.")
    assert answer.response == "Hello from one."
    assert [m["role"] for m in backend.generations[0].json["messages"]] == ["system", "user"]
    raw = await client.generate("m", "def f(", raw=True, stream=True)
    assert "".join([piece.response or "" async for piece in raw]) == "Hello from one."
    assert backend.generations[1].path == "/v1/completions"


async def test_embeddings(client: ollama.AsyncClient, backend: ScriptedBackend) -> None:
    many = await client.embed("m", ["a", "b"])
    one = await client.embeddings("m", "a")
    assert len(many.embeddings) == 2
    assert list(one.embedding) == list(many.embeddings[0])
    assert {request.path for request in backend.generations} == {"/v1/embeddings"}


async def test_a_model_is_loaded_before_the_first_question(
    client: ollama.AsyncClient, backend: ScriptedBackend
) -> None:
    """As `ollama run` does: it gives up if that fails."""
    loaded = await client.generate("m", keep_alive="5m")
    assert (loaded.response, loaded.done, loaded.done_reason) == ("", True, "load")
    (chat,) = [piece async for piece in await client.chat("m", [], stream=True)]
    assert (chat.message.content, chat.done_reason) == ("", "load")
    with pytest.raises(ollama.ResponseError, match="does not exist here") as caught:
        await client.generate("nobody-has-it")
    assert caught.value.status_code == 404
    assert not backend.generations


async def test_errors(client: ollama.AsyncClient, backend: ScriptedBackend) -> None:
    with pytest.raises(ollama.ResponseError, match="nobody-has-it") as caught:
        await client.chat("nobody-has-it", HELLO)
    assert caught.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="loads or unloads") as caught:
        await client.generate("m", keep_alive=0)
    assert caught.value.status_code == 400
    backend.behave(Answer(cut=Cut.CLOSE, after=2))
    with pytest.raises(ollama.ResponseError, match="one"):
        async for _ in await client.chat("m", HELLO, stream=True):
            pass
