"""What is asked of requests that are never sent: the bodies of `POST /nexus/v1/route` and
`/nexus/v1/previews`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from nexus_proxy.config.model import Zone
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.routing.types import BYTES_PER_TOKEN, RequestFacts
from nexus_proxy.state import Capability

MOST_TOKENS = 100_000_000


class Question(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a dry run is asked with. `prompt_tokens` is the length of the prompt to assume."""

    model: Annotated[str, Meta(min_length=1)]
    zone: str | None = None
    tools: bool = False
    vision: bool = False
    json_schema: bool = False
    embeddings: bool = False
    prompt_tokens: Annotated[int, Meta(ge=0, le=MOST_TOKENS)] = 0
    strict: bool = False
    flexible: bool = False


class Models(Struct, forbid_unknown_fields=True):
    """Of which models it is asked who would serve them."""

    models: list[str]


def models_from(body: Mapping[str, Any]) -> list[str]:
    """Raises `InvalidRequestError` naming the field that cannot be read."""
    try:
        return msgspec.convert(body, Models).models
    except msgspec.ValidationError as error:
        raise InvalidRequestError(str(error)) from None


def facts_from(body: Mapping[str, Any]) -> RequestFacts:
    """Raises `InvalidRequestError` naming the field that cannot be read."""
    try:
        question = msgspec.convert(body, Question)
        zone = Zone.parse(question.zone) if question.zone is not None else Zone.OPEN
    except ValueError as error:  # msgspec.ValidationError is one
        raise InvalidRequestError(str(error)) from None
    return RequestFacts(
        model_asked=question.model,
        needs=_needs(question),
        prompt_bytes=question.prompt_tokens * BYTES_PER_TOKEN,
        zone=zone,
        strict=question.strict,
        flexible=question.flexible,
        now=time.monotonic(),
        embeds=question.embeddings,
    )


def _needs(question: Question) -> frozenset[Capability]:
    asked = {
        Capability.TOOLS: question.tools,
        Capability.VISION: question.vision,
        Capability.JSON_SCHEMA: question.json_schema,
        Capability.EMBEDDINGS: question.embeddings,
    }
    return frozenset(capability for capability, wanted in asked.items() if wanted)
