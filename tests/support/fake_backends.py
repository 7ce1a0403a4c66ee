"""Servers that introduce themselves as each kind of backend does, on the scripted backend.

Shapes are those recorded from real llama.cpp and vLLM, and for the others those in their source or
documentation. Each factory gives a `ScriptedBackend` to use as `async with`; it answers chats too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.scripted import Behaviour, Exchange, ScriptedBackend, faults

Table = Mapping[str, Any]
"""Path -> what answers it: a behaviour, or a value to send as JSON."""

UVICORN = {"server": "uvicorn"}
LLAMACPP = {"server": "llama.cpp", "keep-alive": "timeout=5, max=100"}
DIGEST = "a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a"
fastapi_404 = faults.raw(404, b'{"detail":"Not Found"}')
go_404 = faults.raw(404, b"404 page not found", "text/plain")
ollama_root = faults.raw(200, b"Ollama is running", "text/plain; charset=utf-8")


def fake(
    table: Table,
    *,
    models: Sequence[str] = ("m",),
    otherwise: Behaviour = fastapi_404,
    headers: Mapping[str, str] | None = None,
) -> ScriptedBackend:
    """A server that answers the paths in `table`, chats well, and the rest with `otherwise`."""

    async def answer(exchange: Exchange) -> None:
        told = table.get(exchange.request.path, otherwise)
        await (told(exchange) if callable(told) else exchange.json(200, told))

    backend = ScriptedBackend(models, headers=headers)
    backend.behave(answer, on="probes")
    return backend


def keyed(key: str, value: Any, refusal: Behaviour = faults.unauthorized) -> Behaviour:
    """`value` for those who bring the key."""

    async def answer(exchange: Exchange) -> None:
        if exchange.request.header("authorization") == f"Bearer {key}":
            await exchange.json(200, value)
        else:
            await refusal(exchange)

    return answer


def listed(owned_by: str | None, *ids: str, **fields: Any) -> dict[str, Any]:
    """A model list in OpenAI's shape."""
    owner = {"owned_by": owned_by} if owned_by else {}
    data = [{"id": name, "object": "model", "created": 1, **owner, **fields} for name in ids]
    return {"object": "list", "data": data}


# -- llama.cpp -------------------------------------------------------------------------------------

LLAMACPP_META = {
    "vocab_type": 2,
    "n_vocab": 49152,
    "n_ctx": 2048,
    "n_ctx_train": 8192,
    "n_embd": 576,
    "n_params": 134515008,
    "size": 96576768,
    "ftype": "Q4_1",
}
LLAMACPP_PROPS: dict[str, Any] = {
    "default_generation_settings": {"n_ctx": 2048},
    "total_slots": 2,
    "model_alias": "smollm2",
    "modalities": {"vision": False, "video": False, "audio": False},
    "chat_template_caps": {"supports_tools": False, "supports_tool_calls": False},
    "endpoint_slots": True,
    "build_info": "b10068-571d0d5",
    "is_sleeping": False,
}
llamacpp_404 = faults.status(404, "File Not Found", type="not_found_error")


def llamacpp(
    *, key: str | None = None, props: Mapping[str, Any] | None = None, **entry: Any
) -> ScriptedBackend:
    """One model. With `key`, `/props` wants it while the model list stays public."""
    told = {**LLAMACPP_PROPS, **(props or {})}
    fields = {"aliases": ["smollm2"], "meta": LLAMACPP_META, **entry}
    table = {
        "/": faults.raw(415, b"Error: gzip is not supported by this browser", "text/plain"),
        "/health": {"status": "ok"},
        "/v1/models": listed("llamacpp", "smollm2", **fields),
        "/props": keyed(key, told) if key else told,
    }
    return fake(table, models=["smollm2"], otherwise=llamacpp_404, headers=LLAMACPP)


def llamacpp_loading() -> ScriptedBackend:
    """Everything is 503 until the model is read."""
    return fake({}, otherwise=faults.loading, headers=LLAMACPP)


def routed(name: str, status: str, *flags: str, **fields: Any) -> dict[str, Any]:
    """A router's entry: flags as it starts the model's process with."""
    args = ["llama-server", "--host", "127.0.0.1", "--alias", name, *flags]
    told = {"value": status, "args": args, "preset": ""}
    return {"id": name, "owned_by": "llamacpp", "aliases": [], "status": told, **fields}


def llamacpp_router() -> ScriptedBackend:
    """Four models: loaded, asleep, one that embeds, one that sees."""
    sees = {"architecture": {"input_modalities": ["text", "image"]}}
    entries = [
        routed("loaded", "loaded", "--ctx-size", "4096", "--parallel", "2", meta=LLAMACPP_META),
        routed("idle", "unloaded", "--ctx-size", "4096", "--parallel", "2"),
        routed("embedder", "unloaded", "--embedding", "--ctx-size", "512"),
        routed("sees", "sleeping", **sees),
    ]
    table = {
        "/v1/models": {"object": "list", "data": entries},
        "/props": {"role": "router", "max_instances": 1, "build_info": "b10068-571d0d5"},
    }
    return fake(table, otherwise=llamacpp_404, headers=LLAMACPP)


# -- Ollama and those who imitate it ---------------------------------------------------------------


def tag(name: str, *, digest: str = DIGEST, **fields: Any) -> dict[str, Any]:
    """A model in `/api/tags`."""
    details = {"format": "gguf", "parameter_size": "8.0B", "quantization_level": "Q4_K_M"}
    entry = {"name": name, "model": name, "size": 4920753328, "digest": digest, "details": details}
    return {**entry, **fields}


def show(**fields: Any) -> dict[str, Any]:
    """`/api/show` of a llama."""
    info = {"general.architecture": "llama", "llama.context_length": 131072}
    return {"license": "…", "template": "…", "model_info": info, **fields}


def ollama(
    tags: Sequence[Mapping[str, Any]] | None = None,
    *,
    running: Sequence[Mapping[str, Any]] = (),
    shown: Any = None,
) -> ScriptedBackend:
    """Ollama with the models in `tags`, those in `running` loaded."""
    models = [tag("llama3.1:8b")] if tags is None else list(tags)
    table = {
        "/": ollama_root,
        "/api/version": {"version": "0.33.0"},
        "/api/tags": {"models": models},
        "/api/ps": {"models": list(running)},
        "/api/show": shown if shown is not None else show(capabilities=["completion", "tools"]),
        "/v1/models": listed("library", *(str(model["name"]) for model in models)),
    }
    names = [str(model["name"]) for model in models]
    return fake(table, models=names, otherwise=go_404)


def _imitates_ollama(models: Table | dict[str, Any], **more: Any) -> ScriptedBackend:
    table = {
        "/": ollama_root,
        "/api/version": {"version": "0.9.0"},
        "/api/tags": {"models": [tag("qwen3:latest")]},
        "/v1/models": models,
        **more,
    }
    return fake(table, otherwise=fastapi_404)


def lemonade() -> ScriptedBackend:
    """Also serves its list under `/api/v1`, where LM Studio has another one."""
    models = listed("lemonade", "Qwen3-0.6B-GGUF", max_context_window=40960, labels=["reasoning"])
    return _imitates_ollama(models, **{"/api/v1/models": models})


def koboldcpp() -> ScriptedBackend:
    return _imitates_ollama(listed("koboldcpp", "koboldcpp/qwen3"))


def digestless() -> ScriptedBackend:
    """Answers Ollama's questions, but greets otherwise and knows no digests."""
    return _imitates_ollama(
        listed(None, "qwen3"),
        **{"/": faults.html, "/api/tags": {"models": [tag("qwen3", digest="")]}},
    )


def nexus(node: str) -> ScriptedBackend:
    """Imitates Ollama too, and signs everything."""
    backend = ollama()
    backend.behave(
        faults.raw(200, b'{"object":"list","data":[]}', headers={"X-Nexus-Node": node}), on="probes"
    )
    return backend


# -- LM Studio -------------------------------------------------------------------------------------

LMSTUDIO_V1 = {
    "models": [
        {
            "type": "llm",
            "publisher": "qwen",
            "key": "qwen/qwen3-8b",
            "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
            "size_bytes": 5027783872,
            "params_string": "8B",
            "loaded_instances": [
                {"id": "qwen/qwen3-8b", "config": {"context_length": 8192, "parallel": 4}},
                {"id": "qwen/qwen3-8b:2", "config": {"context_length": 4096, "parallel": 2}},
            ],
            "max_context_length": 40960,
            "capabilities": {"vision": False, "trained_for_tool_use": True, "reasoning": {}},
        },
        {
            "type": "llm",
            "key": "google/gemma-3-4b",
            "loaded_instances": [],
            "max_context_length": 131072,
            "capabilities": {"vision": True, "trained_for_tool_use": False},
        },
        {
            "type": "embedding",
            "key": "text-embedding-nomic-embed-text-v1.5",
            "loaded_instances": [{"id": "embedder", "config": {"context_length": 2048}}],
            "max_context_length": 2048,
        },
    ]
}
LMSTUDIO_V0 = {
    "object": "list",
    "data": [
        {
            "id": "qwen3-8b",
            "type": "llm",
            "arch": "qwen3",
            "quantization": "Q4_K_M",
            "state": "loaded",
            "max_context_length": 40960,
            "loaded_context_length": 4096,
            "capabilities": ["tool_use"],
        },
        {"id": "llava", "type": "vlm", "state": "not-loaded", "max_context_length": 4096},
        {"id": "nomic", "type": "embeddings", "state": "not-loaded", "max_context_length": 2048},
    ],
}


async def lmstudio_unknown(exchange: Exchange) -> None:
    """LM Studio's 200 to whatever it does not know."""
    request = exchange.request
    sentence = f"Unexpected endpoint or method. ({request.method} {request.path})"
    await exchange.json(200, {"error": sentence})


def lmstudio(*, version: int = 1, key: str | None = None) -> ScriptedBackend:
    """With the newest API (1), that of 0.3 (0), or only OpenAI's (-1)."""
    table: dict[str, Any] = {
        "/v1/models": listed("organization_owner", "qwen/qwen3-8b"),
    }
    if version >= 0:
        table["/api/v0/models"] = LMSTUDIO_V0
    if version >= 1:
        table["/api/v1/models"] = LMSTUDIO_V1
    if key:
        table = {path: keyed(key, value) for path, value in table.items()}
    if version >= 1:
        table["/lmstudio-greeting"] = {"lmstudio": True}
    return fake(table, otherwise=lmstudio_unknown, headers={"x-powered-by": "Express"})


# -- the others ------------------------------------------------------------------------------------


def vllm(*, key: str | None = None) -> ScriptedBackend:
    """A base model and a LoRA adapter on it. The key guards `/v1` only."""
    models = listed("vllm", "base", root="/srv/hf", parent=None, max_model_len=2048)
    adapter = listed("vllm", "style", root="/srv/lora", parent="base", max_model_len=None)
    models["data"] += adapter["data"]
    refusal = faults.raw(401, b'{"error":"Unauthorized"}')
    table = {
        "/v1/models": keyed(key, models, refusal) if key else models,
        "/version": {"version": "0.32.0"},
        "/load": {"server_load": 5},
        "/health": faults.raw(200, b""),
    }
    return fake(table, models=["base", "style"], headers=UVICORN)


def _exo_instance(model: str, *runners: str) -> dict[str, Any]:
    shards = {"modelId": model, "runnerToShard": {name: {} for name in runners}}
    return {"MlxRingInstance": {"instanceId": model, "shardAssignments": shards, "hosts": []}}


def exo() -> ScriptedBackend:
    """A catalogue of four: one runs, one is being loaded, one runs and only draws, one does not."""
    models = listed("exo", "running", context_length=131072, storage_size_megabytes=4096)
    models["data"][0] |= {"capabilities": ["text", "thinking"], "tasks": ["TextGeneration"]}
    models["data"] += listed("exo", "starting", "idle")["data"]
    models["data"] += listed("exo", "painter", tasks=["TextToImage"])["data"]
    newer = {"modelId": "painter", "shards": [["node", "r4", {"PipelineShardMetadata": {}}]]}
    state = {
        "instances": {
            "1": _exo_instance("running", "r1"),
            "2": _exo_instance("starting", "r2", "r3"),
            "3": {"MlxJacclInstance": {"shardAssignments": newer}},
        },
        "runners": {
            "r1": {"RunnerRunning": {}},
            "r2": {"RunnerReady": {}},
            "r3": {"RunnerLoading": {"layersLoaded": 3}},
            "r4": {"RunnerReady": {}},
        },
    }
    table = {"/v1/models": models, "/state": state, "/node_id": "12D3KooW"}
    return fake(table, models=["running"], otherwise=fastapi_404)


def openai_cloud(key: str) -> ScriptedBackend:
    """Ids and nothing else, behind a key."""
    ids = ("gpt-4o-mini", "gpt-3.5-turbo-instruct", "text-embedding-3-small", "whisper-1", "gpt-9")
    refusal = faults.status(401, "Incorrect API key provided.", type="invalid_request_error")
    return fake({"/v1/models": keyed(key, listed("system", *ids), refusal)}, otherwise=refusal)


async def _http_1_0_empty(exchange: Exchange) -> None:
    await exchange.write(
        b"HTTP/1.0 200 OK\r\nServer: BaseHTTP/0.6 Python/3.11\r\n"
        b"Content-Type: application/json\r\n\r\n"
    )
    exchange.close()


def mlx() -> ScriptedBackend:
    """MLX-LM: HTTP/1.0 without length, and an empty model list."""
    not_found = faults.raw(404, b"Not Found", headers={"server": "BaseHTTP/0.6 Python/3.11"})
    table = {"/v1/models": _http_1_0_empty, "/health": {"status": "ok"}}
    return fake(table, otherwise=not_found)


def reseller() -> ScriptedBackend:
    """A bare list, with what OpenRouter and Together add to it."""
    entry = {
        "id": "vendor/model",
        "context_length": 200000,
        "architecture": {"input_modalities": ["text", "image"]},
        "supported_parameters": ["tools", "structured_outputs", "temperature"],
    }
    return fake({"/v1/models": [entry, {"id": "vendor/embed", "type": "embedding"}]})


# -- no backends -----------------------------------------------------------------------------------


async def _drips(exchange: Exchange) -> None:
    await exchange.write(exchange.head(200, {"content-type": "application/json"}))
    await exchange.write(b'{"object": "list", "data": [')
    await exchange.silence()


async def _endless(exchange: Exchange) -> None:
    await exchange.write(exchange.head(200, {"content-type": "application/json"}))
    while True:
        await exchange.write(b" " * 65536)


def saying(behaviour: Behaviour) -> ScriptedBackend:
    """A server with one answer to everything."""
    return fake({}, otherwise=behaviour)


NO_BACKENDS: dict[str, Behaviour] = {
    "a web page": faults.html,
    "silence": faults.hang,
    "half a list": _drips,
    "an endless list": _endless,
    "json to everything": faults.raw(200, b'{"status":"ok","data":{}}'),
    "an empty 200 to everything": faults.raw(200, b""),
    "garbage": faults.garbage,
    "a deeply nested list": faults.raw(200, b"[" * 100_000),
    "a redirect": faults.raw(308, b"", headers={"location": "https://elsewhere.test/"}),
    "a password in HTML": faults.raw(401, b"<html>401</html>", "text/html"),
    "not found": fastapi_404,
}
