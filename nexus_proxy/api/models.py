"""`GET /v1/models` and `/v1/models/{id}`, in OpenAI's shape with what agents want to know besides;
in Anthropic's for its clients, who say which version of it they speak.

Extra fields: `context_length` in tokens (the largest that a backend of the model gives a request
now, since routing leaves out those with too little; null: unknown), `capabilities` (what at least
one of them is known to do), `backends` (their names).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from quart import Quart, Response, g, request

from nexus_proxy.admission.keys import Key
from nexus_proxy.api.answers import json_answer
from nexus_proxy.api.catalogue import Offered
from nexus_proxy.config.values import is_glob
from nexus_proxy.dialects.ollama_models import UNTIMED
from nexus_proxy.errors import ModelNotAllowedError, UnknownModelError
from nexus_proxy.registry import Backend
from nexus_proxy.relay import headers as wire_headers
from nexus_proxy.routing.resolve import resolve
from nexus_proxy.runtime import Runtime
from nexus_proxy.state import ModelInfo

Offer = tuple[Backend, ModelInfo]

CREATED = 0
"""OpenAI's clients insist on a number, and no local backend knows it. It must not change between
two calls, since some clients sort by it."""
HOPS = wire_headers.HOPS.decode()
SEVERAL = "nexus"
"""`owned_by` of a model that more than one backend serves."""


def add_routes(app: Quart, runtime: Runtime) -> None:
    """Add the routes of this module."""

    @app.get("/v1/models")
    async def models() -> Response:
        offered = Offered(runtime.registry, to_gateway=HOPS in request.headers)
        told = listing(offered, runtime, g.key)
        return json_answer(_page(told) if _speaks_anthropic() else {"object": "list", "data": told})

    @app.get("/v1/models/<path:model>")
    async def one_model(model: str) -> Response:
        told = entry(model, Offered(runtime.registry), runtime, g.key)
        return json_answer(_in_anthropics(told) if _speaks_anthropic() else told)

    @app.get("/nexus/v1/models")
    async def all_models() -> Response:
        """For operators, who need no API key."""
        data = listing(Offered(runtime.registry), runtime, None)
        return json_answer({"object": "list", "data": data})


def listing(offered: Offered, runtime: Runtime, key: Key | None) -> list[dict[str, Any]]:
    """Every id that the key may use once, and every exact alias that leads to one, by name."""
    return [_told(name, offers) for name, offers in offers_by_name(offered, runtime, key)]


def entry(name: str, offered: Offered, runtime: Runtime, key: Key | None) -> dict[str, Any]:
    """What is known of the model that `name` stands for.

    Raises `UnknownModelError` and `ModelNotAllowedError`.
    """
    return _told(name, offers_of(name, offered, runtime, key))


def offers_by_name(
    offered: Offered, runtime: Runtime, key: Key | None
) -> Iterator[tuple[str, Sequence[Offer]]]:
    """Every id that the key may use, and every exact alias that leads to one, by name, with who
    has it."""
    aliases = {alias for alias in offered.aliases if not is_glob(alias)}
    for name in sorted({*offered.model_ids(), *aliases}):
        try:
            yield name, offers_of(name, offered, runtime, key)
        except ModelNotAllowedError:
            continue
        except UnknownModelError:  # an alias of something that nobody lists now
            continue


def offers_of(name: str, offered: Offered, runtime: Runtime, key: Key | None) -> Sequence[Offer]:
    """Who has the model that `name` stands for, and what they say of it.

    Raises `UnknownModelError` and `ModelNotAllowedError`.
    """
    found = resolve(name, offered, runtime.relay.rules)
    if key is not None:
        key.require(name, found.names)
    return [o for o in offered.offers(found.model) if found.forced in (None, o[0].name)]


def _told(name: str, offers: Sequence[Offer]) -> dict[str, Any]:
    backends, infos = [backend for backend, _ in offers], [info for _, info in offers]
    contexts = [info.context_length for info in infos if info.context_length is not None]
    return {
        "id": name,
        "object": "model",
        "created": CREATED,
        "owned_by": backends[0].name if len(backends) == 1 else SEVERAL,
        "context_length": max(contexts, default=None),
        "capabilities": sorted({ability.value for info in infos for ability in info.can}),
        "backends": [backend.name for backend in backends],
    }


def _speaks_anthropic() -> bool:
    return "anthropic-version" in request.headers


def _page(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All that there is in one page, whatever size was asked for."""
    data = [_in_anthropics(one) for one in told]
    first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
    return {"data": data, "has_more": False, "first_id": first, "last_id": last}


def _in_anthropics(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "model",
        "id": told["id"],
        "display_name": told["id"],
        "created_at": UNTIMED,
        "max_input_tokens": told["context_length"],
    }
