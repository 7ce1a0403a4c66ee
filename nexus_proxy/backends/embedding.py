"""What vectors a backend makes of a few texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.ask import ask
from nexus_proxy.backends.base import Target
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.routing.types import Fingerprint

if TYPE_CHECKING:
    import httpx

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "def add(a: int, b: int) -> int: return a + b",
    "Où est la bibliothèque la plus proche ?",
    "東京は日本の首都です。",
)
"""Prose, code, and two other languages: short, so that they cost a local model milliseconds."""
PATIENCE_SECONDS = 60.0
"""A model may have to be loaded first."""


class _Item(Struct):
    embedding: list[float]
    index: int = 0


class _Answer(Struct):
    data: list[_Item]


async def fingerprint(
    client: httpx.AsyncClient, target: Target, type_: BackendType, model: str
) -> Fingerprint | str:
    """The vectors that a backend makes of `TEXTS`, or why there are none."""
    adapter = adapter_for(type_)
    answer = await ask(
        client,
        target.base_url + adapter.path_of(Endpoint.EMBEDDINGS),
        headers=adapter.auth_headers(target),
        post={"model": model, "input": TEXTS, "encoding_format": "float"},
        within=PATIENCE_SECONDS,
    )
    if answer.status != 200:
        return answer.problem or f"it answered {answer.status}"
    try:
        items = msgspec.json.decode(answer.body, type=_Answer).data
    except ValueError:
        return "its answer holds no vectors"
    vectors = [item.embedding for item in sorted(items, key=lambda item: item.index)]
    if len(vectors) != len(TEXTS) or not all(vectors):
        return f"it made {len(vectors)} vectors of {len(TEXTS)} texts"
    return Fingerprint(vectors)
