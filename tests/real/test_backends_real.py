"""The llama.cpp adapter against real llama.cpp servers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Fault, ProbeFailed, Target
from nexus_proxy.backends.fingerprint import NotABackend, fingerprint
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo, Probe
from tests.support.llama import LlamaServer, start_llama

pytestmark = pytest.mark.real

LLAMACPP = adapter_for(BackendType.LLAMACPP)
TOOLS_TEMPLATE = (
    "{%- if tools -%}<tool_call>{%- for t in tools -%}{{ t | tojson }}{%- endfor -%}{%- endif -%}"
    "{%- for m in messages -%}{{ m.role }}: {{ m.content or '' }}"
    "{%- for c in m.tool_calls or [] -%}<tool_call>{{ c.function | tojson }}</tool_call>"
    "{%- endfor -%}{%- endfor -%}"
)
PATIENCE = 30.0

Servers = Callable[..., LlamaServer]


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=10.0) as one:
        yield one


async def probe(client: httpx.AsyncClient, server: LlamaServer, key: str | None = None) -> Probe:
    return await LLAMACPP.probe(client, Target(base_url=server.url, api_key=key))


async def until(
    client: httpx.AsyncClient, server: LlamaServer, condition: Callable[[Probe], bool]
) -> Probe:
    """Probe until the answer is as wanted; llama.cpp has no event to wait for."""
    deadline = time.monotonic() + PATIENCE
    while not condition(found := await probe(client, server)):
        assert time.monotonic() < deadline, f"still {found}"
        await asyncio.sleep(0.1)
    return found


def only(found: Probe) -> ModelInfo:
    assert found.models is not None
    (model,) = found.models
    return model


def loaded(found: Probe) -> set[str]:
    assert found.models is not None
    return {model.id for model in found.models if model.loaded}


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_is_recognised(client: httpx.AsyncClient, llama_server: Servers, ending: str) -> None:
    server = llama_server()
    found = await fingerprint(client, server.url + ending)
    assert (found.type, found.base_url, found.needs_key) == (
        BackendType.LLAMACPP,
        server.url,
        False,
    )


async def test_tells_slots_context_and_capabilities(
    client: httpx.AsyncClient, llama_server: Servers
) -> None:
    found = await probe(client, llama_server())
    model = only(found)
    assert (found.slots, found.loading) == (2, False)
    assert (model.id, model.context_length, model.max_context) == ("smollm2", 2048, 8192)
    assert (model.quantization, model.parameters, model.loaded) == ("Q4_1", "135M", True)
    assert {Capability.CHAT, Capability.COMPLETIONS, Capability.JSON_SCHEMA} <= model.can
    assert {Capability.TOOLS, Capability.VISION} <= model.cannot


async def test_usable_context_is_what_it_refuses_beyond(
    client: httpx.AsyncClient, llama_server: Servers
) -> None:
    server = llama_server()
    usable = only(await probe(client, server)).context_length
    assert usable is not None
    body = {"prompt": [1] * (usable + 1), "max_tokens": 1}
    answer = await client.post(f"{server.url}/v1/completions", json=body)
    assert LLAMACPP.classify(answer.status_code, answer.json(), answer.text) is (
        Fault.CONTEXT_OVERFLOW
    )


async def test_what_it_lacks_is_not_held_against_it(
    client: httpx.AsyncClient, llama_server: Servers
) -> None:
    server = llama_server()
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    asked = {
        "/v1/embeddings": {"input": "x"},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [image]}]},
        "/v1/nonsense": {},
    }
    for path, body in asked.items():
        answer = await client.post(server.url + path, json=body)
        assert not answer.is_success
        fault = LLAMACPP.classify(answer.status_code, answer.json(), answer.text)
        assert fault is Fault.UNSUPPORTED, path


async def test_template_decides_about_tools(
    client: httpx.AsyncClient, llama_server: Servers
) -> None:
    server = llama_server(chat_template=TOOLS_TEMPLATE, api_keys=["k1"])
    model = only(await probe(client, server, "k1"))
    assert Capability.TOOLS in model.can


async def test_key_is_asked_for_although_the_list_is_public(
    client: httpx.AsyncClient, llama_server: Servers
) -> None:
    server = llama_server(chat_template=TOOLS_TEMPLATE, api_keys=["k1"])
    assert (await fingerprint(client, server.url)).needs_key
    assert not (await fingerprint(client, server.url, api_key="k1")).needs_key
    with pytest.raises(ProbeFailed, match="asks for an API key"):
        await probe(client, server)
    with pytest.raises(ProbeFailed, match="refuses the API key"):
        await probe(client, server, "k2")
    health = await client.get(server.url + LLAMACPP.health_path)
    assert health.status_code == 200, "the health path needs no key"


async def test_probing_lets_it_sleep_and_does_not_wake_it(client: httpx.AsyncClient) -> None:
    server = start_llama(sleep_idle_seconds=1, context=512)
    try:
        asleep = await until(client, server, lambda found: found.note is not None)
        assert only(asleep).loaded is False
        again = await probe(client, server)
        assert only(again).loaded is False
        body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}
        answer = await client.post(f"{server.url}/v1/chat/completions", json=body)
        assert answer.status_code == 200
    finally:
        server.stop()


async def test_router_shows_what_is_loaded(
    client: httpx.AsyncClient, llama_router: LlamaServer
) -> None:
    found = await fingerprint(client, llama_router.url)
    assert found.type is BackendType.LLAMACPP
    assert "router" in found.evidence
    before = await probe(client, llama_router)
    assert before.models is not None
    assert {(m.id, m.loaded, m.context_length, m.max_context) for m in before.models} == {
        ("alpha", False, 1024, None),
        ("beta", False, 1024, None),
    }
    await client.post(f"{llama_router.url}/models/load", json={"model": "alpha"})
    there = await until(client, llama_router, lambda found: loaded(found) == {"alpha"})
    assert there.models is not None
    alpha = next(model for model in there.models if model.id == "alpha")
    assert (alpha.context_length, alpha.max_context) == (1024, 8192)
    await client.post(f"{llama_router.url}/models/unload", json={"model": "alpha"})
    await until(client, llama_router, lambda found: not loaded(found))


async def test_router_says_which_model_it_does_not_have(
    client: httpx.AsyncClient, llama_router: LlamaServer
) -> None:
    body = {"model": "nope", "messages": [{"role": "user", "content": "hi"}]}
    answer = await client.post(f"{llama_router.url}/v1/chat/completions", json=body)
    fault = LLAMACPP.classify(answer.status_code, answer.json(), answer.text)
    assert fault is Fault.MODEL_MISSING


async def test_killed_and_restarted_it_answers_at_the_same_address(
    client: httpx.AsyncClient,
) -> None:
    server = start_llama(context=512)
    try:
        url = server.url
        server.kill()
        with pytest.raises(ProbeFailed, match="connection refused"):
            await probe(client, server)
        with pytest.raises(NotABackend, match="connection refused"):
            await fingerprint(client, url)
        server.restart()
        assert server.url == url
        assert only(await probe(client, server)).loaded
    finally:
        server.stop()
