"""Requests that go to a backend as they are, and come back as they are: rerank, audio, images,
moderations. No dialect but OpenAI's (Cohere's, for rerank) has them, so none is translated.

Not every server has these routes, and few say so. `Capability` names what each route needs.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from nexus_proxy.dialects import forms
from nexus_proxy.dialects.openai import (
    ABSENT,
    UNREADABLE,
    Endpoint,
    RequestPeek,
    decode_object,
    is_fit_model,
    says_nothing,
    unfit_model,
)
from nexus_proxy.dialects.openai_stream import MOST_TOKENS, AnswerFacts, Usage
from nexus_proxy.dialects.sse import payload
from nexus_proxy.state import Capability

ROUTES: dict[Endpoint, Capability] = {
    Endpoint.RERANK: Capability.RERANK,
    Endpoint.TRANSCRIPTIONS: Capability.TRANSCRIPTION,
    Endpoint.TRANSLATIONS: Capability.TRANSCRIPTION,
    Endpoint.SPEECH: Capability.SPEECH,
    Endpoint.IMAGE_GENERATIONS: Capability.IMAGES,
    Endpoint.IMAGE_EDITS: Capability.IMAGES,
    Endpoint.IMAGE_VARIATIONS: Capability.IMAGES,
    Endpoint.MODERATIONS: Capability.MODERATION,
}
"""What a backend must have to be asked at each of these."""
FORMS = frozenset(
    (
        Endpoint.TRANSCRIPTIONS,
        Endpoint.TRANSLATIONS,
        Endpoint.IMAGE_EDITS,
        Endpoint.IMAGE_VARIATIONS,
    )
)
"""Those that also take multipart forms."""
DEFAULT_MODELS = {Endpoint.MODERATIONS: "omni-moderation-latest"}
"""Meant by a request that names none: the default in OpenAI's documentation, which its clients rely
on."""

_READ = ("query", "documents", "input", "prompt")
"""What of a body is text for the model."""


def peek(endpoint: Endpoint, body: bytes, content_type: bytes) -> RequestPeek:
    """What routing needs of a body. Raises `InvalidRequestError`."""
    is_form = forms.is_form(content_type)
    model, prompt_bytes = _of_form(body, content_type) if is_form else _of_json(body)
    model = model or DEFAULT_MODELS.get(endpoint, "")
    if not is_fit_model(model):
        raise unfit_model(model)
    route = ROUTES[endpoint]
    return RequestPeek(
        model=model,
        stream=False,
        wants_usage=False,
        wants_base64=False,
        prompt_bytes=prompt_bytes,
        needs=frozenset((route,)),
        reads_apart=True,
        route=route,
    )


def _of_form(body: bytes, content_type: bytes) -> tuple[str, int]:
    fields = forms.fields(body, content_type)
    model = forms.text(body, fields["model"]) if "model" in fields else ""
    start, end = fields.get("prompt", (0, 0))
    return model, end - start


def _of_json(body: bytes) -> tuple[str, int]:
    told = decode_object(body)
    model = told.get("model")
    read = [value for key in _READ if (value := told.get(key)) is not None]
    return model if isinstance(model, str) else "", len(msgspec.json.encode(read)) if read else 0


def with_model(body: bytes, content_type: bytes, model: str) -> bytes | None:
    """A form with another model's name in it; None: the body is no form."""
    if not forms.is_form(content_type):
        return None
    return forms.with_field(body, content_type, "model", model)


_Count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]


class _Counted(Struct):
    """Audio and images are counted in the words of the Responses API, rerank in those of chat."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    total_tokens: _Count | None = None


class _Told(Struct):
    usage: Raw = ABSENT
    error: Raw = ABSENT


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_counted = msgspec.json.Decoder(_Counted, strict=False).decode


def read_answer(body: bytes) -> AnswerFacts:
    """What a whole JSON answer says; an object with an `error` is none (LM Studio answers 200 to
    paths that it does not know)."""
    try:
        if not body.lstrip().startswith(b"{"):
            msgspec.json.decode(body, type=list[Any])
            return AnswerFacts(is_answer=True)
        told = _decode_told(body)
    except UNREADABLE:
        return AnswerFacts(is_answer=False)
    return AnswerFacts(is_answer=says_nothing(told.error), usage=_usage(told.usage))


def usage_of(event: bytes) -> Usage | None:
    """Token counts in one whole event of a stream, if there are any."""
    data = payload(event)
    try:
        return None if data is None else _usage(_decode_told(data).usage)
    except UNREADABLE:
        return None


def _usage(raw: Raw) -> Usage | None:
    if says_nothing(raw):
        return None
    try:
        told = _decode_counted(raw)
    except UNREADABLE:
        return None
    read = told.input_tokens if told.prompt_tokens is None else told.prompt_tokens
    made = told.output_tokens if told.completion_tokens is None else told.completion_tokens
    if read is None and made is None:
        return None
    return Usage(read, made, told.total_tokens)
