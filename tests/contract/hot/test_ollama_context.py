"""An Ollama is asked for the context that a prompt needs, and else left as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest

from tests.contract.hot.asking import error_of
from tests.support import fake_backends
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Exchange, Recorded, ScriptedBackend
from tests.support.scripted.wire import encode

MODEL = "llama3.1:8b"
MOST = 131072
LONG = "It was a bright cold day in April, and the clocks were striking thirteen. " * 300
PROMPT_TOKENS = 5100
SIZE = 16384
"""Of 22,200 characters at three to a token, and room for an answer, in doublings of 8192."""


async def chat(exchange: Exchange) -> None:
    message = {"role": "assistant", "content": "Yes."}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": PROMPT_TOKENS, "eval_count": 2}
    if not exchange.request.streams:
        await exchange.json(200, {"message": message, **end})
        return
    lines = [{"message": message, "done": False}, {"message": {"content": ""}, **end}]
    body = b"".join(encode(line) + b"\n" for line in lines)
    await exchange.respond(200, body, "application/x-ndjson")


class Ollama:
    """A fake one, whose loaded context can be set."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {
            "/": fake_backends.ollama_root,
            "/api/version": {"version": "0.33.0"},
            "/api/tags": {"models": [fake_backends.tag(MODEL)]},
            "/api/ps": {"models": []},
            "/api/show": fake_backends.show(capabilities=["completion", "tools"]),
            "/api/chat": chat,
        }
        self.backend: ScriptedBackend = fake_backends.fake(
            self.table, models=[MODEL], otherwise=fake_backends.go_404
        )

    def load(self, context: int) -> None:
        entry = fake_backends.tag(MODEL, context_length=context)
        self.table["/api/ps"] = {"models": [entry]}

    @property
    def native(self) -> list[Recorded]:
        return [request for request in self.backend.requests if request.path == "/api/chat"]


@pytest.fixture
async def ollama() -> AsyncIterator[Ollama]:
    one = Ollama()
    async with one.backend:
        yield one


@pytest.fixture
async def gateway(ollama: Ollama) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        [backend_entry("box", ollama.backend.url, type="ollama")], routing={"max_retries": 0}
    ) as running:
        yield running


async def loaded(gateway: RunningGateway, context: int) -> None:
    models = gateway.runtime.registry.get("box")
    await gateway.until(lambda: models.models[MODEL].context_length == context)


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_long_prompt_stays_whole(
    gateway: RunningGateway, ollama: Ollama, stream: bool
) -> None:
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="x") as sdk:
        if stream:
            chunks = [
                chunk
                async for chunk in await sdk.chat.completions.create(
                    model=MODEL, messages=said(LONG), stream=True
                )
            ]
            assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Yes."
            assert chunks[-1].choices[0].finish_reason == "stop", "the usage was not asked for"
        else:
            answer = await sdk.chat.completions.create(model=MODEL, messages=said(LONG))
            assert answer.choices[0].message.content == "Yes."
    (sent,) = ollama.native
    assert sent.json["options"] == {"num_ctx": SIZE}
    assert sent.json["messages"] == said(LONG)
    (view,) = gateway.runtime.history.newest(1)
    assert (view.prompt_tokens, view.truncated) == (PROMPT_TOKENS, None)


async def test_callers_of_another_dialect_are_served_through_both(
    gateway: RunningGateway, ollama: Ollama
) -> None:
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key="x") as claude:
        answer = await claude.messages.create(
            model=MODEL, max_tokens=20000, system="Be brief", messages=said(LONG)
        )
    assert (answer.content[0].type, answer.usage.input_tokens) == ("text", PROMPT_TOKENS)
    (sent,) = ollama.native
    assert sent.json["options"]["num_ctx"] == SIZE
    assert sent.json["options"]["num_predict"] < SIZE


async def test_what_fits_is_asked_in_chat(gateway: RunningGateway, ollama: Ollama) -> None:
    assert (await gateway.chat(MODEL)).status_code == 200
    ollama.load(32768)
    await loaded(gateway, 32768)
    assert (await gateway.chat(MODEL, messages=said(LONG))).status_code == 200
    assert [request.path for request in ollama.backend.generations] == ["/v1/chat/completions"] * 2
    assert not ollama.native


async def test_a_context_that_was_asked_for_is_kept_while_it_is_loaded(
    gateway: RunningGateway, ollama: Ollama
) -> None:
    async def loads_and_answers(exchange: Exchange) -> None:
        ollama.load(SIZE)
        await chat(exchange)

    ollama.table["/api/chat"] = loads_and_answers
    await gateway.chat(MODEL, messages=said(LONG))
    await loaded(gateway, SIZE)
    await gateway.chat(MODEL)
    assert [request.json["options"]["num_ctx"] for request in ollama.native] == [SIZE, SIZE]
    ollama.load(8192)
    await loaded(gateway, 8192)
    await gateway.chat(MODEL)
    assert len(ollama.native) == 2, "somebody else had it loaded anew"


async def test_a_loaded_context_that_is_too_short_is_no_refusal_but_the_models_own_is(
    gateway: RunningGateway, ollama: Ollama
) -> None:
    ollama.load(2048)
    await loaded(gateway, 2048)
    assert (await gateway.chat(MODEL, messages=said(LONG))).status_code == 200
    assert len(ollama.native) == 1
    answer = await gateway.chat(MODEL, messages=said("word " * MOST * 2))
    error_of(answer, 400, "context_length_exceeded")
