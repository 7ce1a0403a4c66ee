"""Ollama's lists as its own client reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import ollama
import pytest

from tests.support import fake_backends
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

IDLE = fake_backends.tag("idle:1b")
RUNNING = fake_backends.tag("llama3.1:8b", context_length=4096)


@pytest.fixture
async def gateway() -> AsyncIterator[RunningGateway]:
    async with AsyncExitStack() as stack:
        left = await stack.enter_async_context(
            fake_backends.ollama([IDLE, RUNNING], running=[RUNNING])
        )
        right = await stack.enter_async_context(
            ScriptedBackend([{"id": "org/big", "max_model_len": 32768}])
        )
        entries = [
            backend_entry("left", left.url, type="ollama"),
            backend_entry("right", right.url, type="vllm"),
        ]
        routing = {"aliases": {"gpt-4o": "org/big"}}
        yield await stack.enter_async_context(running_gateway(entries, routing=routing))


@pytest.fixture
async def client(gateway: RunningGateway) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(gateway.url, trust_env=False) as asking:
        yield asking


async def test_list_has_what_v1_models_has(
    client: ollama.AsyncClient, gateway: RunningGateway
) -> None:
    listed = (await client.list()).models
    known = (await gateway.client.get("/v1/models")).json()["data"]
    assert [model.model for model in listed] == [model["id"] for model in known]
    assert "gpt-4o" in [model.model for model in listed]
    assert len({model.digest for model in listed}) == len(listed)


async def test_show_tells_context_and_capabilities(client: ollama.AsyncClient) -> None:
    shown = await client.show("org/big")
    info = dict(shown.modelinfo or {})
    assert info[f"{info['general.architecture']}.context_length"] == 32768
    assert "completion" in (shown.capabilities or ())
    assert dict((await client.show("gpt-4o")).modelinfo or {})["general.basename"] == "gpt-4o"


async def test_ps_has_what_is_loaded(client: ollama.AsyncClient) -> None:
    loaded = {model.model: model.context_length for model in (await client.ps()).models}
    assert loaded["llama3.1:8b"] == 4096
    assert "idle:1b" not in loaded


async def test_sizes_are_those_that_backends_tell_and_clouds_are_remote() -> None:
    async with AsyncExitStack() as stack:
        ollamas = await stack.enter_async_context(fake_backends.ollama([IDLE]))
        cloud = await stack.enter_async_context(ScriptedBackend(["gpt-4o"]))
        entries = [
            backend_entry("box", ollamas.url, type="ollama"),
            backend_entry("cloud", cloud.url, type="openai", api_key_env="KEY"),
        ]
        gateway = await stack.enter_async_context(
            running_gateway(entries, environ={"KEY": "sk-0123456789"})
        )
        told = (await gateway.client.get("/api/tags")).json()["models"]
    assert {m["name"]: (m["size"], m.get("remote_model")) for m in told} == {
        "idle:1b": (IDLE["size"], None),
        "gpt-4o": (0, "gpt-4o"),
    }


async def test_the_version_is_one_that_vs_code_takes(gateway: RunningGateway) -> None:
    told = (await gateway.client.get("/api/version")).json()["version"]
    assert tuple(map(int, told.split("."))) >= (0, 6, 4)


async def test_errors_have_the_dialects_form(
    client: ollama.AsyncClient, gateway: RunningGateway
) -> None:
    with pytest.raises(ollama.ResponseError, match="nothing-like-it") as caught:
        await client.show("nothing-like-it")
    assert caught.value.status_code == 404
    answers: list[httpx.Response] = [
        await gateway.client.post("/api/show", content=b"{"),
        await gateway.client.post("/api/show", json={}),
        await gateway.client.delete("/api/tags"),
        await gateway.client.get("/api/nothing"),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 405, 404]
    for answer in answers:
        assert list(answer.json()) == ["error"]
        assert isinstance(answer.json()["error"], str)
        assert "x-request-id" in answer.headers


async def test_curl_is_understood(gateway: RunningGateway) -> None:
    """Its `-d` calls the body a form."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = await gateway.client.post("/api/show", content=b'{"name":"org/big"}', headers=form)
    assert answer.status_code == 200
