"""Ollama's lists, for clients that look for models there: `/api/tags`, `/api/ps`, `/api/show` and
`/api/version`. They show what `/v1/models` shows, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from quart import Quart, Response, g, request

from nexus_proxy.api.answers import json_answer
from nexus_proxy.api.catalogue import Offered
from nexus_proxy.api.models import HOPS, Offer, offers_by_name, offers_of
from nexus_proxy.dialects import ollama_models
from nexus_proxy.dialects.openai import UNREADABLE
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import ModelInfo


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    def models() -> Iterator[tuple[str, ModelInfo]]:
        offered = Offered(runtime.registry, to_gateway=HOPS in request.headers)
        for name, offers in offers_by_name(offered, runtime, g.key):
            yield name, merged(name, offers)

    @app.get("/api/tags")
    async def tags() -> Response:
        return json_answer(ollama_models.tags(models()))

    @app.get("/api/ps")
    async def ps() -> Response:
        return json_answer(ollama_models.ps(models()))

    @app.get("/api/version")
    async def version() -> Response:
        return json_answer(ollama_models.version())

    @app.post("/api/show")
    async def show() -> Response:
        name = asked_model(await request.get_data(as_text=False))
        offers = offers_of(name, Offered(runtime.registry), runtime, g.key)
        return json_answer(ollama_models.show(name, merged(name, offers)))


def asked_model(body: bytes | str) -> str:
    """The model that `/api/show` is about. Of any content type, since `curl -d` is how Ollama's
    own pages ask. Raises `InvalidRequestError`."""
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE as error:
        raise InvalidRequestError(f"the body is no JSON object: {error}") from None
    name = asked.get("model") or asked.get("name")
    if not isinstance(name, str):
        raise InvalidRequestError("the body names no model", param="model")
    return name


def merged(name: str, offers: Sequence[Offer]) -> ModelInfo:
    """What the backends of a model say of it, as one: the largest context, what at least one of
    them can do, loaded where one has it loaded, remote where none has it on its own machine, and
    the first that tells anything else."""
    infos = [info for _, info in offers]
    contexts = [info.context_length for info in infos if info.context_length is not None]
    trained = [info.max_context for info in infos if info.max_context is not None]
    return ModelInfo(
        id=name,
        context_length=max(contexts, default=None),
        max_context=max(trained, default=None),
        can=frozenset[Any]().union(*(info.can for info in infos)),
        loaded=any(info.loaded for info in infos),
        remote=all(info.remote or backend.traits.is_cloud for backend, info in offers),
        quantization=next((i.quantization for i in infos if i.quantization), None),
        parameters=next((i.parameters for i in infos if i.parameters), None),
        size_bytes=next((i.size_bytes for i in infos if i.size_bytes), None),
    )
