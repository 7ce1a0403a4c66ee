"""Loading and unloading by each kind's own API, over real sockets."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import LoadFailed, Target
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo
from tests.support import fake_backends as fakes
from tests.support import shelves
from tests.support.scripted import ScriptedBackend
from tests.support.shelves import Shelf

Make = Callable[[Shelf], ScriptedBackend]
KINDS: dict[BackendType, Make] = {
    BackendType.OLLAMA: shelves.ollama,
    BackendType.LMSTUDIO: shelves.lmstudio,
    BackendType.LLAMACPP: shelves.router,
    BackendType.VLLM: shelves.vllm,
}
kinds = pytest.mark.parametrize("type_", KINDS, ids=lambda type_: type_.value)


async def is_loaded(client: httpx.AsyncClient, type_: BackendType, url: str) -> bool | None:
    found = await adapter_for(type_).probe(client, Target(base_url=url))
    assert found.loads_when_told
    assert found.models is not None
    return found.models[0].loaded


@kinds
async def test_what_was_loaded_serves_and_what_was_unloaded_is_gone(
    client: httpx.AsyncClient, type_: BackendType
) -> None:
    shelf, adapter, model = Shelf("a"), adapter_for(type_), ModelInfo(id="a")
    async with KINDS[type_](shelf) as server:
        target = Target(base_url=server.url)
        assert await is_loaded(client, type_, server.url) is False
        await adapter.load(client, target, model)
        assert shelf.done == ["load a"]
        assert await is_loaded(client, type_, server.url) is True
        await adapter.unload(client, target, model)
        assert shelf.done == ["load a", "unload a"]
        assert await is_loaded(client, type_, server.url) is False


@pytest.mark.parametrize(
    ("type_", "words"),
    [
        (BackendType.OLLAMA, "model requires more system memory"),
        (BackendType.LMSTUDIO, "model requires more system memory"),
        (BackendType.LLAMACPP, "its process ended with exit code 1"),
    ],
)
async def test_a_load_that_fails_says_why_in_the_servers_words(
    client: httpx.AsyncClient, type_: BackendType, words: str
) -> None:
    shelf = Shelf("a")
    shelf.refusal = "model requires more system memory"
    async with KINDS[type_](shelf) as server:
        with pytest.raises(LoadFailed, match=words):
            await adapter_for(type_).load(client, Target(base_url=server.url), ModelInfo(id="a"))


async def test_a_router_may_have_it_loaded_already(client: httpx.AsyncClient) -> None:
    shelf = Shelf("a", loaded=("a",))
    async with shelves.router(shelf) as server:
        target, model = Target(base_url=server.url), ModelInfo(id="a")
        await adapter_for(BackendType.LLAMACPP).load(client, target, model)
        shelf.loaded.clear()
        await adapter_for(BackendType.LLAMACPP).unload(client, target, model)
        with pytest.raises(LoadFailed, match="'b' not found"):
            await adapter_for(BackendType.LLAMACPP).load(client, target, ModelInfo(id="b"))
    assert shelf.done == []


async def test_ollama_keeps_what_was_loaded_and_embedders_go_by_their_own_route(
    client: httpx.AsyncClient,
) -> None:
    shelf = Shelf("a")
    embedder = ModelInfo(id="a", can=frozenset({Capability.EMBEDDINGS}))
    async with shelves.ollama(shelf) as server:
        for model in (ModelInfo(id="a"), embedder):
            await adapter_for(BackendType.OLLAMA).load(client, Target(base_url=server.url), model)
    assert [(order["path"], order["keep_alive"]) for order in shelf.orders] == [
        ("/api/generate", -1),
        ("/api/embed", -1),
    ]


async def test_lm_studio_unloads_every_instance(client: httpx.AsyncClient) -> None:
    shelf = Shelf("a", loaded=("a",))
    async with shelves.lmstudio(shelf, instances=2) as server:
        target = Target(base_url=server.url)
        await adapter_for(BackendType.LMSTUDIO).unload(client, target, ModelInfo(id="a"))
    assert shelf.done == ["unload a", "unload a"]


@pytest.mark.parametrize(
    ("type_", "make"),
    [
        (BackendType.LLAMACPP, fakes.llamacpp),
        (BackendType.LMSTUDIO, lambda: fakes.lmstudio(version=0)),
        (BackendType.VLLM, lambda: shelves.vllm(Shelf("a", loaded=("a",)), dev_mode=False)),
        (BackendType.EXO, fakes.exo),
    ],
    ids=lambda value: value.value if isinstance(value, BackendType) else "",
)
async def test_who_cannot_be_told_is_known_as_such(
    client: httpx.AsyncClient, type_: BackendType, make: Callable[[], ScriptedBackend]
) -> None:
    async with make() as server:
        found = await adapter_for(type_).probe(client, Target(base_url=server.url))
    assert not found.loads_when_told
