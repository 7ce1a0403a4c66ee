"""OpenAI's own API.

From its documentation and SDK:
- `/v1/models` holds ids and nothing else, so contexts and capabilities of well-known families stand
  in `FAMILIES`; a model that is not there is served with both unknown.
- 429 `insufficient_quota` (and its siblings) is not a rate limit: waiting does not help and every
  retry fails, so it counts as `CREDENTIALS`: try another backend, tell the operator.
- Responses is its own dialect: what comes in it goes out as it came. Others that are used as this
  kind (by `OPENAI_BASE_URL`) may lack it, which the relay notices.
- Listing models costs nothing. Its edge keeps idle connections for minutes, and a new one costs
  three round trips, so they are kept longer than local ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, ClassVar, NamedTuple

import msgspec

from nexus_proxy.backends.base import Fault, classify_openai
from nexus_proxy.backends.capabilities import NEEDS_GENERATION
from nexus_proxy.backends.generic import Generic
from nexus_proxy.config.model import BackendType
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.state import Capability, ModelInfo, Traits

_UNPAID = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
_ELSEWHERE = ("not supported in the v1/", "only supported in v1/")

_TEXT = frozenset({Capability.CHAT, Capability.TOOLS})
_SEES = _TEXT | {Capability.VISION}
_STRICT = _SEES | {Capability.JSON_SCHEMA}
_THINKS = _STRICT | {Capability.THINKING}
_CHAT_CANNOT = frozenset({Capability.COMPLETIONS, Capability.EMBEDDINGS})
_COMPLETES = frozenset({Capability.COMPLETIONS})
_COMPLETES_CANNOT = _THINKS | {Capability.EMBEDDINGS}
_EMBEDS = frozenset({Capability.EMBEDDINGS})
_NO_TEXT = NEEDS_GENERATION | _EMBEDS


class Family(NamedTuple):
    """What is certain of the models whose id matches one of the globs."""

    ids: tuple[str, ...]
    context: int | None
    """Tokens."""
    can: frozenset[Capability]
    cannot: frozenset[Capability]


FAMILIES = (
    Family(("text-embedding-*",), 8_191, _EMBEDS, NEEDS_GENERATION),
    Family(("whisper-*", "*-transcribe*"), None, frozenset({Capability.TRANSCRIPTION}), _NO_TEXT),
    Family(("tts-*", "*-tts*"), None, frozenset({Capability.SPEECH}), _NO_TEXT),
    Family(("dall-e-*", "gpt-image-*"), None, frozenset({Capability.IMAGES}), _NO_TEXT),
    Family(("*moderation-*",), None, frozenset({Capability.MODERATION}), _NO_TEXT),
    Family(("sora-*", "*-realtime*"), None, frozenset(), _NO_TEXT),
    Family(("gpt-3.5-turbo-instruct*",), 4_096, _COMPLETES, _COMPLETES_CANNOT),
    Family(("davinci-002", "babbage-002"), 16_384, _COMPLETES, _COMPLETES_CANNOT),
    Family(("gpt-3.5-turbo*",), 16_385, _TEXT, _CHAT_CANNOT),
    Family(("gpt-4", "gpt-4-0613"), 8_192, _TEXT, _CHAT_CANNOT),
    Family(("gpt-4-turbo", "gpt-4-turbo-20*"), 128_000, _SEES, _CHAT_CANNOT),
    Family(
        ("gpt-4o", "gpt-4o-20*", "gpt-4o-mini", "gpt-4o-mini-20*"), 128_000, _STRICT, _CHAT_CANNOT
    ),
    Family(
        ("gpt-4.1", "gpt-4.1-20*", "gpt-4.1-mini*", "gpt-4.1-nano*"),
        1_047_576,
        _STRICT,
        _CHAT_CANNOT,
    ),
    Family(("o1", "o1-20*", "o3", "o3-20*", "o4-mini*"), 200_000, _THINKS, _CHAT_CANNOT),
    Family(("o3-mini*",), 200_000, _THINKS - {Capability.VISION}, _CHAT_CANNOT),
    Family(("gpt-5", "gpt-5-20*", "gpt-5-mini*", "gpt-5-nano*"), 400_000, _THINKS, _CHAT_CANNOT),
)
"""The first match counts."""


class OpenAi(Generic):
    """api.openai.com."""

    type = BackendType.OPENAI
    title = "OpenAI"
    traits: ClassVar[Traits] = Traits(
        is_cloud=True,
        idle_reuse_seconds=60.0,
        answers_while_busy=True,
        lacks=frozenset({Capability.RERANK}),
    )
    native: ClassVar[Mapping[Endpoint, str]] = {Endpoint.RESPONSES: "/v1/responses"}

    def read(self, entry: Mapping[str, Any]) -> ModelInfo:
        """An id, and what `FAMILIES` knows of it."""
        said = super().read(entry)
        family = family_of(said.id)
        if family is None:
            return said
        return msgspec.structs.replace(
            said,
            context_length=said.context_length or family.context,
            max_context=family.context,
            can=said.can | family.can,
            cannot=family.cannot,
        )

    def classify(self, status: int, body: Mapping[str, Any] | None, text: str) -> Fault:
        """An empty purse is no rate limit, and a chat model asked for a completion is not gone."""
        if status in (403, 429) and any(mark in text for mark in _UNPAID):
            return Fault.CREDENTIALS
        if status == 404 and any(mark in text for mark in _ELSEWHERE):
            return Fault.UNSUPPORTED
        return classify_openai(status, body, text)


def family_of(model: str) -> Family | None:
    """The first of `FAMILIES` that the id belongs to."""
    return next((f for f in FAMILIES if any(fnmatchcase(model, glob) for glob in f.ids)), None)
