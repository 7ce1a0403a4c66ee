"""Servers whose models can be loaded and unloaded, each by its kind's own API, on the scripted
backend. What is loaded stands on a `Shelf`, which also says how loading goes."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs

from nexus_proxy.tasks import spawn
from tests.support.fake_backends import (
    LLAMACPP,
    UVICORN,
    fake,
    go_404,
    listed,
    llamacpp_404,
    lmstudio_unknown,
    ollama_root,
    routed,
    tag,
)
from tests.support.scripted import Exchange, ScriptedBackend, faults

GB = 1_000_000_000


class Shelf:
    """Models of one server. `done` lists what was done to them, as `load a`.

    A load or unload waits while `open` is cleared, and fails while `refusal` says why.
    """

    def __init__(self, *models: str, loaded: tuple[str, ...] = (), size: int = GB) -> None:
        self.models, self.loaded, self.size = models, set(loaded), size
        self.done: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self.refusal: str | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, model: str) -> None:
        await self.open.wait()
        self.done.append(f"load {model}")
        self.loaded.add(model)

    async def unload(self, model: str) -> None:
        await self.open.wait()
        self.done.append(f"unload {model}")
        self.loaded.discard(model)


def ollama(shelf: Shelf) -> ScriptedBackend:
    """Loads by a request without a prompt; says what is loaded in `/api/ps`."""

    async def tags(exchange: Exchange) -> None:
        told = [
            tag(m, digest=m, size=shelf.size, capabilities=["completion"]) for m in shelf.models
        ]
        await exchange.json(200, {"models": told})

    async def ps(exchange: Exchange) -> None:
        told = [{"name": m, "model": m, "size_vram": shelf.size} for m in sorted(shelf.loaded)]
        await exchange.json(200, {"models": told})

    async def generate(exchange: Exchange) -> None:
        order = exchange.request.json
        shelf.orders.append({"path": exchange.request.path, **order})
        if shelf.refusal:
            await exchange.json(500, {"error": shelf.refusal})
            return
        unloads = order["keep_alive"] == 0
        await (shelf.unload if unloads else shelf.load)(order["model"])
        reason = "unload" if unloads else "load"
        await exchange.json(200, {"model": order["model"], "done": True, "done_reason": reason})

    table = {
        "/": ollama_root,
        "/api/version": {"version": "0.33.0"},
        "/api/tags": tags,
        "/api/ps": ps,
        "/api/generate": generate,
        "/api/embed": generate,
        "/v1/models": listed("library", *shelf.models),
    }
    return fake(table, models=shelf.models, otherwise=go_404)


def lmstudio(shelf: Shelf, *, instances: int = 1) -> ScriptedBackend:
    """Loads under an id of its own, and answers 200 also where it refuses."""

    def entry(model: str) -> dict[str, Any]:
        ids = [f"{model}#{n}" for n in range(instances)] if model in shelf.loaded else []
        told = [{"id": name, "config": {"context_length": 4096}} for name in ids]
        return {"type": "llm", "key": model, "size_bytes": shelf.size, "loaded_instances": told}

    async def models(exchange: Exchange) -> None:
        await exchange.json(200, {"models": [entry(model) for model in shelf.models]})

    async def load(exchange: Exchange) -> None:
        model = exchange.request.json["model"]
        if shelf.refusal:
            await exchange.json(200, {"error": {"message": shelf.refusal}})
            return
        await shelf.load(model)
        told = {"type": "llm", "instance_id": f"{model}#0", "status": "loaded"}
        await exchange.json(200, {**told, "load_time_seconds": 0.1})

    async def unload(exchange: Exchange) -> None:
        name = exchange.request.json["instance_id"]
        await shelf.unload(name.partition("#")[0])
        await exchange.json(200, {"instance_id": name})

    table = {
        "/api/v1/models": models,
        "/api/v1/models/load": load,
        "/api/v1/models/unload": unload,
        "/v1/models": listed("organization_owner", *shelf.models),
        "/lmstudio-greeting": {"lmstudio": True},
    }
    headers = {"x-powered-by": "Express"}
    return fake(table, models=shelf.models, otherwise=lmstudio_unknown, headers=headers)


def router(shelf: Shelf, *, most: int = 4) -> ScriptedBackend:
    """llama.cpp's: says yes at once and does it later, which its list shows; or has failed."""
    loading: set[str] = set()
    failed: set[str] = set()

    def entry(model: str) -> dict[str, Any]:
        value = "loaded" if model in shelf.loaded else "unloaded"
        told = routed(model, "loading" if model in loading else value)
        if model in failed:
            told["status"] |= {"failed": True, "exit_code": 1}
        return told

    async def models(exchange: Exchange) -> None:
        await exchange.json(200, {"object": "list", "data": [*map(entry, shelf.models)]})

    async def change(exchange: Exchange) -> None:
        model, verb = exchange.request.json["model"], exchange.request.path.rpartition("/")[2]
        if model not in shelf.models:
            await faults.status(404, f"model '{model}' not found")(exchange)
        elif (model in shelf.loaded) == (verb == "load"):
            state = "already running" if verb == "load" else "not running"
            await faults.status(400, f"model is {state}")(exchange)
        else:
            loading.add(model)
            spawn(work(model, verb), name=f"{verb} {model}")
            await exchange.json(200, {"success": True})

    async def work(model: str, verb: str) -> None:
        if shelf.refusal:
            failed.add(model)
        else:
            await (shelf.load(model) if verb == "load" else shelf.unload(model))
        loading.discard(model)

    table = {
        "/health": {"status": "ok"},
        "/v1/models": models,
        "/props": {"role": "router", "max_instances": most, "build_info": "b10068-571d0d5"},
        "/models/load": change,
        "/models/unload": change,
    }
    return fake(table, models=shelf.models, otherwise=llamacpp_404, headers=LLAMACPP)


def vllm(shelf: Shelf, *, dev_mode: bool = True) -> ScriptedBackend:
    """Sleeps and wakes with its one model, in dev mode."""
    (model,) = shelf.models

    async def is_sleeping(exchange: Exchange) -> None:
        await exchange.json(200, {"is_sleeping": model not in shelf.loaded})

    async def sleep(exchange: Exchange) -> None:
        assert parse_qs(exchange.request.query) == {"level": ["1"]}
        await shelf.unload(model)
        await exchange.respond(200, b"", "text/plain")

    async def wake(exchange: Exchange) -> None:
        await shelf.load(model)
        await exchange.respond(200, b"", "text/plain")

    table: dict[str, Any] = {
        "/v1/models": listed("vllm", model, root="/srv/hf", parent=None, max_model_len=2048),
        "/version": {"version": "0.32.0"},
        "/load": {"server_load": 0},
        "/health": faults.raw(200, b""),
    }
    if dev_mode:
        table |= {"/is_sleeping": is_sleeping, "/sleep": sleep, "/wake_up": wake}
    return fake(table, models=shelf.models, headers=UVICORN)
