"""What a health check learns from each kind of backend, over real sockets."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import ProbeFailed, Target
from nexus_proxy.backends.ollama import SHOWS_PER_PROBE, Ollama
from nexus_proxy.config.model import BackendType
from nexus_proxy.state import Capability, ModelInfo, Probe
from tests.support import fake_backends as fakes
from tests.support.scripted import (
    Behaviour,
    Exchange,
    Recorded,
    ScriptedBackend,
    claude,
    faults,
    gemini,
)


async def probe(
    client: httpx.AsyncClient, type_: BackendType, server: ScriptedBackend, key: str | None = None
) -> Probe:
    return await adapter_for(type_).probe(client, Target(base_url=server.url, api_key=key))


def models(found: Probe) -> dict[str, ModelInfo]:
    assert found.models is not None
    return {model.id: model for model in found.models}


# -- llama.cpp -------------------------------------------------------------------------------------


async def test_llamacpp_counts_the_context_of_a_slot(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp() as server:
        found = await probe(client, BackendType.LLAMACPP, server)
    assert (found.version, found.slots, found.loading) == ("b10068-571d0d5", 2, False)
    assert models(found)["smollm2"] == ModelInfo(
        id="smollm2",
        context_length=2048,
        max_context=8192,
        can=frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.JSON_SCHEMA}),
        cannot=frozenset({Capability.TOOLS, Capability.VISION, Capability.AUDIO}),
        loaded=True,
        quantization="Q4_1",
        parameters="135M",
        size_bytes=96576768,
    )


@pytest.mark.parametrize("folder", ["/models/", "C:\\models\\"])
async def test_llamacpp_without_an_alias_goes_by_its_files_name(
    client: httpx.AsyncClient, folder: str
) -> None:
    path = f"{folder}Qwen3-8B-Q4_K_M.gguf"
    async with fakes.llamacpp(id=path, aliases=[path]) as server:
        (model,) = (await probe(client, BackendType.LLAMACPP, server)).models or ()
    assert model.id == "Qwen3-8B-Q4_K_M.gguf"
    assert model.aliases == (path,)


@pytest.mark.parametrize("name", ["ggml-org/gemma-3-1b-it-GGUF:Q4_K_M", "a.gguf", "/a/.gguf"])
async def test_llamacpp_keeps_a_name_that_is_no_path(client: httpx.AsyncClient, name: str) -> None:
    async with fakes.llamacpp(id=name) as server:
        assert [*models(await probe(client, BackendType.LLAMACPP, server))] == [name]


async def test_llamacpp_never_asks_what_would_wake_it(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp() as server:
        await probe(client, BackendType.LLAMACPP, server)
        assert {request.path for request in server.requests} == {"/v1/models", "/props"}


async def test_llamacpp_capabilities_follow_template_and_projector(
    client: httpx.AsyncClient,
) -> None:
    caps = {"supports_tools": True, "supports_tool_calls": True}
    modalities = {"vision": True, "audio": False}
    props = {"chat_template_caps": caps, "modalities": modalities}
    async with fakes.llamacpp(props=props) as server:
        model = models(await probe(client, BackendType.LLAMACPP, server))["smollm2"]
    assert {Capability.TOOLS, Capability.VISION} <= model.can
    assert model.cannot == {Capability.AUDIO}


async def test_llamacpp_that_says_little_leaves_tools_open(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp(props={"chat_template_caps": None, "modalities": []}) as server:
        model = models(await probe(client, BackendType.LLAMACPP, server))["smollm2"]
    assert not model.cannot


async def test_llamacpp_encoder_cannot_chat(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp(meta={**fakes.LLAMACPP_META, "vocab_type": 3}) as server:
        model = models(await probe(client, BackendType.LLAMACPP, server))["smollm2"]
    assert Capability.CHAT in model.cannot
    assert model.can == {Capability.EMBEDDINGS}


async def test_llamacpp_asleep_is_up_with_nothing_loaded(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp(props={"is_sleeping": True}) as server:
        found = await probe(client, BackendType.LLAMACPP, server)
    assert models(found)["smollm2"].loaded is False
    assert found.note is not None
    assert "sleeps" in found.note


async def test_llamacpp_loading_keeps_the_old_list(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp_loading() as server:
        found = await probe(client, BackendType.LLAMACPP, server)
    assert found == Probe(models=None, loading=True)


@pytest.mark.parametrize(("key", "reason"), [(None, "asks for an API"), ("no", "refuses the API")])
async def test_llamacpp_with_a_public_list_still_needs_its_key(
    client: httpx.AsyncClient, key: str | None, reason: str
) -> None:
    async with fakes.llamacpp(key="k1") as server:
        with pytest.raises(ProbeFailed, match=reason):
            await probe(client, BackendType.LLAMACPP, server, key)
        assert (await probe(client, BackendType.LLAMACPP, server, "k1")).slots == 2


async def test_llamacpp_router_tells_each_model_apart(client: httpx.AsyncClient) -> None:
    async with fakes.llamacpp_router() as server:
        found = await probe(client, BackendType.LLAMACPP, server)
    assert found.slots is None
    assert found.max_loaded == 1
    told = {
        name: (model.loaded, model.context_length, model.max_context)
        for name, model in models(found).items()
    }
    assert told == {
        "loaded": (True, 2048, 8192),
        "idle": (False, 2048, None),
        "embedder": (False, 512, None),
        "sees": (False, None, None),
    }
    assert Capability.CHAT in models(found)["embedder"].cannot
    assert Capability.EMBEDDINGS in models(found)["embedder"].can
    assert Capability.VISION in models(found)["sees"].can


# -- Ollama ----------------------------------------------------------------------------------------


async def test_ollama_usable_context_is_that_of_the_loaded_runner(
    client: httpx.AsyncClient,
) -> None:
    tags = [fakes.tag("a:8b"), fakes.tag("b:8b", digest="b" * 64)]
    async with fakes.ollama(tags, running=[{"model": "a:8b", "context_length": 4096}]) as server:
        found = await Ollama().probe(client, Target(base_url=server.url))
    assert found.version == "0.33.0"
    assert found.slots is None
    a, b = models(found)["a:8b"], models(found)["b:8b"]
    assert (a.loaded, a.context_length, a.max_context) == (True, 4096, 131072)
    assert (b.loaded, b.context_length, b.max_context) == (False, None, 131072)
    assert (a.quantization, a.parameters, a.size_bytes) == ("Q4_K_M", "8.0B", 4920753328)


async def test_ollama_capabilities_are_a_complete_list(client: httpx.AsyncClient) -> None:
    tags = [
        fakes.tag("chat", capabilities=["completion", "tools", "thinking"]),
        fakes.tag("embed", digest="b" * 64, capabilities=["embedding"]),
    ]
    async with fakes.ollama(tags) as server:
        found = models(await Ollama().probe(client, Target(base_url=server.url)))
    assert {Capability.CHAT, Capability.TOOLS, Capability.JSON_SCHEMA} <= found["chat"].can
    assert found["chat"].cannot == {Capability.VISION, Capability.AUDIO}
    assert found["embed"].can == {Capability.EMBEDDINGS}
    assert {Capability.CHAT, Capability.COMPLETIONS} <= found["embed"].cannot


async def test_ollama_of_old_leaves_capabilities_unknown(client: httpx.AsyncClient) -> None:
    async with fakes.ollama(shown=fakes.show()) as server:
        model = models(await Ollama().probe(client, Target(base_url=server.url)))["llama3.1:8b"]
    assert (model.can, model.cannot) == (frozenset(), frozenset())
    assert model.max_context == 131072


async def test_ollama_is_asked_about_a_model_once(client: httpx.AsyncClient) -> None:
    adapter = Ollama()
    async with fakes.ollama() as server:
        target = Target(base_url=server.url)
        assert await adapter.probe(client, target) == await adapter.probe(client, target)
        assert [r.path for r in server.requests].count("/api/show") == 1


async def test_ollama_that_says_all_in_its_list_is_not_asked_more(
    client: httpx.AsyncClient,
) -> None:
    details = {"context_length": 8192, "quantization_level": "Q4_0"}
    tags = [fakes.tag("a", capabilities=["completion"], details=details)]
    async with fakes.ollama(tags) as server:
        found = await Ollama().probe(client, Target(base_url=server.url))
        assert "/api/show" not in [request.path for request in server.requests]
    assert models(found)["a"].max_context == 8192


async def test_ollama_with_many_models_is_asked_a_few_at_a_time(client: httpx.AsyncClient) -> None:
    total = SHOWS_PER_PROBE + 4
    tags = [fakes.tag(f"m{n}", digest=f"{n:064x}") for n in range(total)]
    adapter = Ollama()
    async with fakes.ollama(tags) as server:
        target = Target(base_url=server.url)
        first = models(await adapter.probe(client, target))
        assert len(first) == total
        assert sum(model.max_context is not None for model in first.values()) == SHOWS_PER_PROBE
        second = models(await adapter.probe(client, target))
    assert all(model.max_context for model in second.values())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("gpt-oss:120b-cloud", {}),
        ("kimi-k2:cloud", {}),
        ("registry.test:5000/kimi:1t-Cloud", {}),
        ("renamed", {"remote_host": "https://ollama.com:443", "remote_model": "gpt-oss:120b"}),
    ],
)
async def test_ollama_cloud_models_are_remote(
    client: httpx.AsyncClient, name: str, fields: dict[str, str]
) -> None:
    local = [fakes.tag(name) for name in ("local:8b", "soundcloud", "cloudy:uncloud")]
    async with fakes.ollama([fakes.tag(name, **fields), *local]) as server:
        found = models(await Ollama().probe(client, Target(base_url=server.url)))
    assert [name for name, model in found.items() if model.remote] == [name]
    assert found[name].loaded is None


# -- LM Studio -------------------------------------------------------------------------------------


async def test_lmstudio_counts_what_is_loaded(client: httpx.AsyncClient) -> None:
    async with fakes.lmstudio() as server:
        found = await probe(client, BackendType.LMSTUDIO, server)
    assert found.slots == 6
    qwen = models(found)["qwen/qwen3-8b"]
    assert (qwen.loaded, qwen.context_length, qwen.max_context) == (True, 4096, 40960)
    assert qwen.aliases == ("qwen/qwen3-8b:2",)
    assert {Capability.CHAT, Capability.TOOLS, Capability.JSON_SCHEMA} <= qwen.can
    assert qwen.cannot == {Capability.VISION}
    gemma = models(found)["google/gemma-3-4b"]
    assert (gemma.loaded, gemma.context_length) == (False, None)
    assert Capability.VISION in gemma.can
    assert Capability.TOOLS not in gemma.cannot
    nomic = models(found)["text-embedding-nomic-embed-text-v1.5"]
    assert nomic.can == {Capability.EMBEDDINGS}
    assert Capability.CHAT in nomic.cannot


async def test_lmstudio_of_0_3_is_read_too(client: httpx.AsyncClient) -> None:
    async with fakes.lmstudio(version=0) as server:
        found = models(await probe(client, BackendType.LMSTUDIO, server))
    qwen, llava = found["qwen3-8b"], found["llava"]
    assert (qwen.loaded, qwen.context_length, qwen.max_context) == (True, 4096, 40960)
    assert Capability.TOOLS in qwen.can
    assert (llava.loaded, llava.context_length) == (False, None)
    assert Capability.VISION in llava.can
    assert Capability.CHAT in found["nomic"].cannot


async def test_lmstudio_of_old_lists_ids(client: httpx.AsyncClient) -> None:
    async with fakes.lmstudio(version=-1) as server:
        found = await probe(client, BackendType.LMSTUDIO, server)
    assert found.models == (ModelInfo(id="qwen/qwen3-8b"),)


async def test_lmstudio_behind_a_token(client: httpx.AsyncClient) -> None:
    async with fakes.lmstudio(key="k1") as server:
        with pytest.raises(ProbeFailed, match="asks for an API key"):
            await probe(client, BackendType.LMSTUDIO, server)
        assert (await probe(client, BackendType.LMSTUDIO, server, "k1")).slots == 6


# -- vLLM, exo, OpenAI, the rest -------------------------------------------------------------------


async def test_vllm_lora_inherits_the_context_of_its_base(client: httpx.AsyncClient) -> None:
    async with fakes.vllm() as server:
        found = await probe(client, BackendType.VLLM, server)
    assert (found.version, found.busy, found.slots) == ("0.32.0", 5, None)
    for model in models(found).values():
        assert (model.context_length, model.max_context, model.loaded) == (2048, None, True)
        assert model.can == {Capability.JSON_SCHEMA}
    assert set(models(found)) == {"base", "style"}


async def test_exo_lists_only_what_has_an_instance(client: httpx.AsyncClient) -> None:
    async with fakes.exo() as server:
        found = models(await probe(client, BackendType.EXO, server))
    assert {name: model.loaded for name, model in found.items()} == {
        "running": True,
        "starting": False,
        "painter": True,
    }
    running = found["running"]
    assert (running.context_length, running.max_context) == (None, 131072)
    assert running.can == {Capability.CHAT, Capability.THINKING}
    assert Capability.CHAT in found["painter"].cannot


async def test_openai_needs_its_key_and_knows_families(client: httpx.AsyncClient) -> None:
    async with fakes.openai_cloud("k1") as server:
        with pytest.raises(ProbeFailed, match="asks for an API key"):
            await probe(client, BackendType.OPENAI, server)
        with pytest.raises(ProbeFailed, match="refuses the API key"):
            await probe(client, BackendType.OPENAI, server, "wrong")
        found = models(await probe(client, BackendType.OPENAI, server, "k1"))
    assert found["gpt-4o-mini"].context_length == 128_000
    assert {Capability.CHAT, Capability.TOOLS, Capability.VISION} <= found["gpt-4o-mini"].can
    assert Capability.CHAT in found["gpt-3.5-turbo-instruct"].cannot
    assert found["text-embedding-3-small"].can == {Capability.EMBEDDINGS}
    assert Capability.CHAT in found["whisper-1"].cannot
    assert found["gpt-9"] == ModelInfo(id="gpt-9")


async def test_generic_survives_an_empty_200_over_http_1_0(client: httpx.AsyncClient) -> None:
    async with fakes.mlx() as server:
        found = await probe(client, BackendType.GENERIC, server)
    assert found.models is None
    assert found.note


async def test_generic_reads_what_resellers_add(client: httpx.AsyncClient) -> None:
    async with fakes.reseller() as server:
        found = models(await probe(client, BackendType.GENERIC, server))
    model, embed = found["vendor/model"], found["vendor/embed"]
    assert model.context_length == 200000
    assert {Capability.TOOLS, Capability.VISION, Capability.JSON_SCHEMA} <= model.can
    assert Capability.CHAT in embed.cannot


# -- every kind ------------------------------------------------------------------------------------

SPECIFIC = [type_ for type_ in BackendType if type_ is not BackendType.GENERIC]
LOCAL = [type_ for type_ in SPECIFIC if not adapter_for(type_).traits.is_cloud]
TAKES_EMPTY = (BackendType.GENERIC, BackendType.OPENAI)
"""MLX-LM's empty list with status 200 stands for: up, models unknown."""


@pytest.mark.parametrize("type_", BackendType)
@pytest.mark.parametrize("behaviour", fakes.NO_BACKENDS.values(), ids=fakes.NO_BACKENDS)
async def test_no_kind_is_fooled_by_what_is_no_backend(
    client: httpx.AsyncClient, type_: BackendType, behaviour: Behaviour
) -> None:
    client.timeout = httpx.Timeout(0.2)
    async with fakes.saying(behaviour) as server:
        if type_ in TAKES_EMPTY and behaviour is fakes.NO_BACKENDS["an empty 200 to everything"]:
            assert (await probe(client, type_, server)).models is None
            return
        with pytest.raises(ProbeFailed) as caught:
            await probe(client, type_, server)
    assert str(caught.value)


@pytest.mark.parametrize("type_", LOCAL)
async def test_another_kind_at_the_same_port_is_noticed(
    client: httpx.AsyncClient, type_: BackendType
) -> None:
    other = fakes.vllm if type_ is not BackendType.VLLM else fakes.llamacpp
    async with other() as server:
        with pytest.raises(ProbeFailed):
            await probe(client, type_, server)


@pytest.mark.parametrize("type_", SPECIFIC)
async def test_a_nexus_is_not_taken_for_what_it_imitates(
    client: httpx.AsyncClient, type_: BackendType
) -> None:
    async with fakes.nexus("n") as server:
        with pytest.raises(ProbeFailed, match="a Nexus answers"):
            await probe(client, type_, server)


@pytest.mark.parametrize("type_", BackendType)
async def test_down_is_told_in_words(client: httpx.AsyncClient, type_: BackendType) -> None:
    async with fakes.vllm() as server:
        server.refuse()
        with pytest.raises(ProbeFailed, match="connection refused"):
            await probe(client, type_, server)


@pytest.mark.parametrize("type_", BackendType)
async def test_an_unsendable_key_is_told_without_the_key(
    client: httpx.AsyncClient, type_: BackendType
) -> None:
    async with fakes.vllm() as server:
        for key in ("secret-\n-key", "secret-ключ"):
            with pytest.raises(ProbeFailed, match="characters") as caught:
                await probe(client, type_, server, key)
            assert "secret" not in repr(caught.value) + str(caught.value.__context__)
        assert not server.requests


def key_in(request: Recorded) -> str | None:
    bearer = request.header("authorization")
    if bearer is not None:
        return bearer.removeprefix("Bearer ")
    return request.header("x-api-key") or request.header("x-goog-api-key")


@pytest.mark.parametrize("type_", BackendType)
async def test_only_the_backends_key_is_sent(client: httpx.AsyncClient, type_: BackendType) -> None:
    async with fakes.saying(faults.status(404)) as server:
        with pytest.raises(ProbeFailed):
            await probe(client, type_, server, "k1")
        assert {key_in(request) for request in server.requests} == {"k1"}
        server.requests.clear()
        with pytest.raises(ProbeFailed):
            await probe(client, type_, server)
        assert {key_in(request) for request in server.requests} == {None}


@pytest.mark.parametrize("type_", BackendType)
async def test_probes_of_hostile_lists_keep_sane_ids(
    client: httpx.AsyncClient, type_: BackendType
) -> None:
    ids = ["ok", "", 7, None, "a\nb", "\x1b[31m", "x" * 10_000, "‮gpj", {"id": "x"}]
    entries = [
        {"id": i, "key": i, "model": i, "state": "loaded", "loaded_instances": [None, 3]}
        for i in ids
    ]
    lists = {"data": [*entries, None, 5, "x"], "models": entries}
    state = {"instances": {"1": {"I": {"shardAssignments": {"modelId": "ok"}}}, "2": 3}}
    paths = ("/v1/models", "/api/v1/models", "/api/tags", "/props", "/api/ps", "/load")
    google = [
        {
            "name": f"models/{i}" if isinstance(i, str) else i,
            "supportedGenerationMethods": ["generateContent", 7],
        }
        for i in ids
    ]
    table = {
        **dict.fromkeys(paths, lists),
        "/state": state,
        "/v1beta/models": {"models": [*google, None, "x"], "nextPageToken": "\n"},
    }
    async with fakes.fake(table) as server:
        found = await probe(client, type_, server)
    assert set(models(found)) == {"ok"}


async def test_a_probe_that_is_cancelled_leaves_nothing_behind(client: httpx.AsyncClient) -> None:
    async with fakes.saying(faults.hang) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await probe(client, BackendType.OLLAMA, server)
        await server.until(lambda: all(r.client_left.is_set() for r in server.requests))
        assert len(server.requests) == 3


# -- Anthropic -------------------------------------------------------------------------------------


async def test_anthropic_lists_pages_of_models_with_what_they_can(
    client: httpx.AsyncClient,
) -> None:
    first = [
        claude.model("claude-a", able=("image_input", "thinking")),
        claude.model("claude-old", lifecycle="retired"),
    ]

    async def answer(exchange: Exchange) -> None:
        after = "after_id=claude-old" in exchange.request.query
        listed = [claude.model("claude-b", capabilities=None, max_tokens=None)] if after else first
        await exchange.json(200, claude.page(listed, has_more=not after))

    async with ScriptedBackend(routes={"/v1/models": answer}, api_key="k") as server:
        found = models(await probe(client, BackendType.ANTHROPIC, server, "k"))
        with pytest.raises(ProbeFailed, match="refuses the API key"):
            await probe(client, BackendType.ANTHROPIC, server, "no")
        asked = server.requests[0]
    assert (asked.header("x-api-key"), asked.header("anthropic-version")) == ("k", "2023-06-01")
    assert list(found) == ["claude-a", "claude-b"]
    a, b = found["claude-a"], found["claude-b"]
    assert (a.context_length, a.max_output, b.max_output) == (200_000, 64_000, None)
    assert {Capability.VISION, Capability.THINKING, Capability.TOOLS} <= a.can
    assert {Capability.JSON_SCHEMA, Capability.EMBEDDINGS} <= a.cannot
    assert Capability.VISION not in b.can | b.cannot


# -- Google ----------------------------------------------------------------------------------------


async def test_google_lists_pages_of_what_generates_or_embeds(client: httpx.AsyncClient) -> None:
    first = [gemini.model("gemini-3-pro", thinking=True), gemini.model("gemma-3-27b-it")]
    second = [
        gemini.model("gemini-embedding-001", serves="embedContent"),
        gemini.model("imagen-4", serves="predict"),
    ]

    async def answer(exchange: Exchange) -> None:
        if "pageToken=next%20page" in exchange.request.query:
            await exchange.json(200, {"models": second})
        else:
            await exchange.json(200, {"models": first, "nextPageToken": "next page"})

    async with ScriptedBackend(routes={"/v1beta/models": answer}, api_key="k") as server:
        found = models(await probe(client, BackendType.GOOGLE, server, "k"))
        assert server.requests[0].header("authorization") is None
    assert list(found) == ["gemini-3-pro", "gemma-3-27b-it", "gemini-embedding-001"]
    pro, gemma, embedder = found.values()
    assert (pro.context_length, pro.max_output) == (1_048_576, 65_536)
    assert {Capability.THINKING, Capability.TOOLS, Capability.VISION} <= pro.can
    assert Capability.TOOLS not in gemma.can | gemma.cannot
    assert (Capability.EMBEDDINGS in embedder.can, Capability.CHAT in embedder.cannot) == (
        True,
        True,
    )
