"""`/v1/models` as OpenAI clients read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anthropic
import openai
import pytest

from nexus_proxy.state import BackendState
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.nasty_names import NASTY
from tests.support.scripted import ScriptedBackend

BIG = {"id": "shared", "max_model_len": 32768}
SMALL = {"id": "shared", "max_model_len": 4096}


@asynccontextmanager
async def two_backends(**tables: Any) -> AsyncIterator[RunningGateway]:
    async with AsyncExitStack() as stack:
        left = await stack.enter_async_context(ScriptedBackend([SMALL, "left-only:latest"]))
        right = await stack.enter_async_context(ScriptedBackend([BIG, "org/right-only"]))
        entries = [
            backend_entry("left", left.url, type="vllm"),
            backend_entry("right", right.url, type="vllm"),
        ]
        gateway = await stack.enter_async_context(running_gateway(entries, **tables))
        yield gateway


async def listed(gateway: RunningGateway) -> dict[str, Any]:
    answer = await gateway.client.get("/v1/models")
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    return {model["id"]: model for model in answer.json()["data"]}


async def test_each_id_is_listed_once_and_sorted_with_exact_aliases() -> None:
    aliases = {"gpt-4o": "shared", "claude-*": "shared", "dangling": "nobody-has-it"}
    async with two_backends(routing={"aliases": aliases}) as gateway:
        models = await listed(gateway)
    assert list(models) == ["gpt-4o", "left-only:latest", "org/right-only", "shared"]


async def test_owner_backends_and_context_are_those_of_the_backends() -> None:
    async with two_backends() as gateway:
        models = await listed(gateway)
    assert models["shared"]["owned_by"] == "nexus"
    assert models["shared"]["backends"] == ["left", "right"]
    assert models["shared"]["context_length"] == 32768
    assert models["left-only:latest"]["owned_by"] == "left"
    assert models["left-only:latest"]["context_length"] is None
    assert all(isinstance(model["created"], int) for model in models.values())


async def test_two_calls_list_the_same() -> None:
    async with two_backends() as gateway:
        assert await listed(gateway) == await listed(gateway)


@pytest.mark.parametrize(
    ("path", "id"),
    [
        ("/v1/models/shared", "shared"),
        ("/models/shared", "shared"),
        ("/v1/v1/models/shared/", "shared"),
        ("/v1/models/left-only", "left-only"),
        ("/v1/models/left-only:latest", "left-only:latest"),
        ("/v1/models/left-only%3Alatest", "left-only:latest"),
        ("/v1/models/org/right-only", "org/right-only"),
        ("/v1/models/org%2Fright-only", "org/right-only"),
        ("/v1/models/right/shared", "right/shared"),
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/v1/models/claude-3-haiku", "claude-3-haiku"),
    ],
)
async def test_one_model_is_found_under_every_name_that_a_request_may_use(
    path: str, id: str
) -> None:
    aliases = {"gpt-4o": "shared", "claude-*": "gpt-4o"}
    async with two_backends(routing={"aliases": aliases}) as gateway:
        answer = await gateway.client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == id
    assert answer.json()["object"] == "model"


async def test_a_name_with_its_backend_is_that_backends_model_only() -> None:
    async with two_backends() as gateway:
        answer = await gateway.client.get("/v1/models/right/shared")
    assert answer.json()["backends"] == ["right"]


async def test_an_unknown_model_is_404_with_the_nearest_names() -> None:
    async with two_backends() as gateway:
        answer = await gateway.client.get("/v1/models/shard")
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert error["code"] == "model_not_found"
    assert "'shared'" in error["message"]


async def test_a_disabled_backend_offers_nothing() -> None:
    async with ScriptedBackend(["m"]) as backend:
        entry = backend_entry("off", backend.url, enabled=False)
        async with running_gateway([entry]) as gateway:
            assert await listed(gateway) == {}
            answer = await gateway.client.get("/v1/models/m")
    assert answer.status_code == 404


async def test_models_of_a_backend_that_went_down_stay_listed() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        backend.refuse()
        backend.drop_connections()
        registry = gateway.runtime.registry
        await gateway.until(lambda: registry.get("one").health is BackendState.DOWN)
        assert list(await listed(gateway)) == ["m"]


async def test_the_allow_list_of_a_backend_is_kept() -> None:
    async with ScriptedBackend(["qwen3:8b", "llama3:8b"]) as backend:
        entry = backend_entry("one", backend.url, models=["qwen*"])
        async with running_gateway([entry]) as gateway:
            assert list(await listed(gateway)) == ["qwen3:8b"]


async def test_hostile_ids_reach_the_client_as_they_are() -> None:
    names = [name for name in NASTY if name.strip() and len(name) < 200 and "\ud800" not in name]
    async with (
        ScriptedBackend(names) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        shown = set(await listed(gateway))
        kept = set(gateway.runtime.registry.get("one").models)
    assert shown == kept
    assert "x[/foo]" in shown


async def test_the_openai_client_reads_both_routes() -> None:
    async with (
        two_backends() as gateway,
        openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client,
    ):
        ids = [model.id async for model in client.models.list()]
        one = await client.models.retrieve("org/right-only")
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("nothing-like-it")
    assert "org/right-only" in ids
    assert one.owned_by == "right"


async def test_the_anthropic_client_reads_both_routes() -> None:
    async with (
        two_backends() as gateway,
        anthropic.AsyncAnthropic(base_url=gateway.url, api_key="x", max_retries=0) as client,
    ):
        named = {model.id: model async for model in client.models.list(limit=1)}
        assert sorted(named) == ["left-only:latest", "org/right-only", "shared"]
        assert named["shared"].max_input_tokens == 32768
        one = await client.models.retrieve("org/right-only")
        assert (one.type, one.display_name, one.created_at.year) == ("model", one.id, 1970)
        with pytest.raises(anthropic.NotFoundError):
            await client.models.retrieve("nobody-has-it")
