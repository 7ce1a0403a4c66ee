"""The OpenAI dialect: what routing must know of a request, and errors.

Bodies are decoded only as far as needed. What is not needed is not judged: it is for the backend to
say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from nexus_proxy.dialects.edit import members
from nexus_proxy.errors import (
    InvalidRequestError,
    NexusError,
    RoutingRefusedError,
    UpstreamStatusError,
)
from nexus_proxy.state import Capability


class Endpoint(str, Enum):
    """The hot routes, of all dialects."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    MESSAGES = "messages"
    RESPONSES = "responses"
    OLLAMA_CHAT = "ollama chat"
    OLLAMA_GENERATE = "ollama generate"
    OLLAMA_EMBED = "ollama embed"
    OLLAMA_EMBEDDINGS = "ollama embeddings"
    RERANK = "rerank"
    TRANSCRIPTIONS = "transcriptions"
    TRANSLATIONS = "translations"
    SPEECH = "speech"
    IMAGE_GENERATIONS = "image generations"
    IMAGE_EDITS = "image edits"
    IMAGE_VARIATIONS = "image variations"
    MODERATIONS = "moderations"

    __hash__ = str.__hash__  # in C, and the same; that of `Enum` is written in Python


PATHS: dict[Endpoint, str] = {
    Endpoint.CHAT: "/v1/chat/completions",
    Endpoint.COMPLETIONS: "/v1/completions",
    Endpoint.EMBEDDINGS: "/v1/embeddings",
    Endpoint.MESSAGES: "/v1/messages",
    Endpoint.RESPONSES: "/v1/responses",
    Endpoint.OLLAMA_CHAT: "/api/chat",
    Endpoint.OLLAMA_GENERATE: "/api/generate",
    Endpoint.OLLAMA_EMBED: "/api/embed",
    Endpoint.OLLAMA_EMBEDDINGS: "/api/embeddings",
    Endpoint.RERANK: "/v1/rerank",
    Endpoint.TRANSCRIPTIONS: "/v1/audio/transcriptions",
    Endpoint.TRANSLATIONS: "/v1/audio/translations",
    Endpoint.SPEECH: "/v1/audio/speech",
    Endpoint.IMAGE_GENERATIONS: "/v1/images/generations",
    Endpoint.IMAGE_EDITS: "/v1/images/edits",
    Endpoint.IMAGE_VARIATIONS: "/v1/images/variations",
    Endpoint.MODERATIONS: "/v1/moderations",
}
"""Where clients find each hot route."""
WHOLE = frozenset(
    (
        Endpoint.EMBEDDINGS,
        Endpoint.RERANK,
        Endpoint.TRANSCRIPTIONS,
        Endpoint.TRANSLATIONS,
        Endpoint.SPEECH,
        Endpoint.IMAGE_GENERATIONS,
        Endpoint.IMAGE_EDITS,
        Endpoint.IMAGE_VARIATIONS,
        Endpoint.MODERATIONS,
    )
)
"""Those that generate no text token by token, so that a backend is never asked for a stream there
that the client did not ask for."""
SENT = (Endpoint.CHAT, Endpoint.COMPLETIONS, *WHOLE)
"""What backends are asked at; all others are translated into one of these."""


class RequestPeek(Struct, frozen=True, kw_only=True):
    """What one look at a request body shows.

    `prompt_bytes` counts the bytes of text in the prompt, not those of images or keys.
    `wants_base64` says that embeddings are asked for in that form. `choices` is how many answers
    are due: `n` for each prompt. `messages` are the bytes of each message's content or tool calls,
    which are the same in the next turn of its conversation. `max_tokens` is the longest answer that
    the client takes, in tokens, `service_tier` what it asks of the provider; None: it did not say.
    `reads_apart`: its texts are read one by one, so that their sum need not fit into a context.
    `route` is what its endpoint needs, where only some backends have it.
    """

    model: str
    stream: bool
    wants_usage: bool
    wants_base64: bool
    choices: int = 1
    prompt_bytes: int
    needs: frozenset[Capability]
    messages: Sequence[Raw] = ()
    max_tokens: int | None = None
    service_tier: str | None = None
    reads_apart: bool = False
    route: Capability | None = None


_BRACKET = ord("[")
_CHAT, _EMBEDDINGS = Endpoint.CHAT, Endpoint.EMBEDDINGS
_FOR_CHAT = frozenset((Capability.CHAT,))
_FOR_COMPLETIONS = frozenset((Capability.COMPLETIONS,))
_FOR_EMBEDDINGS = frozenset((Capability.EMBEDDINGS,))

_NOTHING = (b"", b"null", b"[]", b'""', b"{}")
ABSENT = Raw()
"""Default of optional raw values: `Raw | None` is not a union that msgspec takes."""


def says_nothing(value: Raw) -> bool:
    """Whether a raw value is absent, null or empty."""
    return value is ABSENT or (len(value) <= 4 and bytes(value) in _NOTHING)


def is_list(value: Raw) -> bool:
    """Whether a raw value is a JSON list."""
    return len(value) > 1 and memoryview(value)[0] == _BRACKET


class _StreamOptions(Struct):
    include_usage: bool | None = None


class _ResponseFormat(Struct):
    type: str | None = None


class _Message(Struct):
    content: Raw = ABSENT
    tool_calls: Raw = ABSENT


class _Body(Struct):
    model: str | UnsetType = UNSET
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    messages: list[_Message] | None = None
    prompt: Raw = ABSENT
    input: Raw = ABSENT
    tools: Raw = ABSENT
    response_format: _ResponseFormat | None = None
    encoding_format: Raw = ABSENT
    n: Raw = ABSENT
    max_tokens: Raw = ABSENT
    max_completion_tokens: Raw = ABSENT
    service_tier: Raw = ABSENT


class _Part(Struct):
    type: str | None = None
    text: Raw = ABSENT


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_parts = msgspec.json.Decoder(list[_Part]).decode
_decode_list = msgspec.json.Decoder(list[Raw]).decode
_decode_number = msgspec.json.Decoder(int).decode
_decode_word = msgspec.json.Decoder(str).decode

UNREADABLE = (ValueError, RecursionError)
"""What decoders raise: msgspec's own errors are `ValueError`, so are those of UTF-8."""
LONGEST_WORD = 64
"""Bytes."""
MAX_MODEL_NAME = 512
"""Characters. Names are kept in records, headers and logs."""

_PART_NEEDS = {
    "image_url": Capability.VISION,
    "input_image": Capability.VISION,
    "image": Capability.VISION,
    "input_audio": Capability.AUDIO,
}


def peek(endpoint: Endpoint, body: bytes) -> RequestPeek:
    """Decode what routing needs. Raises `InvalidRequestError` with the parser's own words."""
    try:
        decoded = _decode_body(body)
    except UNREADABLE as error:
        raise InvalidRequestError(_explain(body, error)) from None
    if decoded.model is UNSET or not is_fit_model(decoded.model):
        raise unfit_model("" if decoded.model is UNSET else decoded.model)
    messages: Sequence[Raw] = ()
    if endpoint is _CHAT:
        text, needs = _measure_chat(decoded)
        messages = [
            m.content if len(m.content) > 4 else m.tool_calls for m in decoded.messages or ()
        ]
    elif endpoint is _EMBEDDINGS:
        text, needs = _required(decoded.input, "input"), _FOR_EMBEDDINGS
    else:
        text, needs = len(decoded.prompt), _FOR_COMPLETIONS
    options = decoded.stream_options
    return RequestPeek(
        model=decoded.model,
        stream=decoded.stream is True and endpoint is not _EMBEDDINGS,
        wants_usage=options is not None and bool(options.include_usage),
        wants_base64=endpoint is _EMBEDDINGS and bytes(decoded.encoding_format) == b'"base64"',
        choices=_count_choices(decoded),
        prompt_bytes=text,
        needs=needs,
        messages=messages,
        max_tokens=_longest_answer(decoded),
        service_tier=word(decoded.service_tier),
        reads_apart=endpoint is _EMBEDDINGS and is_list(decoded.input),
    )


def is_fit_model(name: str) -> bool:
    """Whether this can be the name of a model."""
    return 0 < len(name) <= MAX_MODEL_NAME


def unfit_model(name: str) -> InvalidRequestError:
    """What to answer where the name of the model is missing or cannot be one."""
    if not name:
        return InvalidRequestError("the body names no model", param="model")
    return InvalidRequestError(
        f"the name of the model is longer than {MAX_MODEL_NAME} characters", param="model"
    )


def word(value: Raw) -> str | None:
    """A raw value as a short string; None where it is none."""
    if value is ABSENT or len(value) > LONGEST_WORD:
        return None
    try:
        return _decode_word(value)
    except UNREADABLE:
        return None


def _longest_answer(body: _Body) -> int | None:
    said = body.max_tokens if body.max_completion_tokens is ABSENT else body.max_completion_tokens
    if said is ABSENT:
        return None
    try:
        return max(0, _decode_number(said))
    except UNREADABLE:
        return None


def _count_choices(body: _Body) -> int:
    if (body.n is ABSENT or says_nothing(body.n)) and not is_list(body.prompt):
        return 1
    try:
        each = 1 if says_nothing(body.n) else _decode_number(body.n)
        prompts = _decode_list(body.prompt) if is_list(body.prompt) else []
    except UNREADABLE:
        return 1
    is_batch = bool(prompts) and bytes(memoryview(prompts[0])[:1]) in (b'"', b"[")
    return max(1, each) * (len(prompts) if is_batch else 1)


def _required(value: Raw, name: str) -> int:
    if says_nothing(value):
        raise InvalidRequestError(f"{name} is missing or empty", param=name)
    return len(value)


def _measure_chat(body: _Body) -> tuple[int, frozenset[Capability]]:
    """Bytes of prompt text, and what the request needs. Raises `InvalidRequestError`."""
    if body.messages is None:
        raise InvalidRequestError("messages is missing", param="messages")
    if not body.messages:
        raise InvalidRequestError("messages is empty", param="messages")
    needs: set[Capability] = set()
    text = 0
    for message in body.messages:
        content = message.content
        text += len(content)
        if message.tool_calls is not ABSENT:
            text += len(message.tool_calls)
        if is_list(content):
            text += _measure_parts(content, needs) - len(content)
    if body.tools is not ABSENT and not says_nothing(body.tools):
        needs.add(Capability.TOOLS)
        text += len(body.tools)
    if body.response_format is not None and body.response_format.type == "json_schema":
        needs.add(Capability.JSON_SCHEMA)
    return text, _FOR_CHAT | needs if needs else _FOR_CHAT


def _measure_parts(content: Raw, needs: set[Capability]) -> int:
    try:
        parts = _decode_parts(content)
    except UNREADABLE:
        # Not a list of objects: the backend will say what is wrong with it.
        return len(content)
    for part in parts:
        if need := _PART_NEEDS.get(part.type or ""):
            needs.add(need)
    return sum(len(part.text) for part in parts)


def decode_object(body: bytes) -> dict[str, Any]:
    """A whole body of any dialect. Raises `InvalidRequestError` with the parser's own words."""
    try:
        decoded = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE as error:
        raise InvalidRequestError(_explain(body, error)) from None
    return decoded


def _explain(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "the body is empty; send a JSON object"
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    try:
        msgspec.json.decode(body)
    except UNREADABLE as malformed:
        return f"the body is not valid JSON: {malformed}"
    return f"the body does not fit: {error}"


def stream_options_with_usage(body: bytes) -> Any:
    """The body's `stream_options` with `include_usage` switched on, other options kept."""
    raw = members(body).get("stream_options")
    options = msgspec.json.decode(raw) if raw is not None else None
    return {**(options or {}), "include_usage": True}


# -- errors ------------------------------------------------------------------------------------


def error_body(error: NexusError) -> bytes:
    """`{"error": {message, type, param, code}}`, with `context` on routing refusals; what a backend
    said, in its own words."""
    if isinstance(error, UpstreamStatusError):
        return upstream_error_body(error)
    inner: dict[str, Any] = {
        "message": error.message,
        "type": error.type,
        "param": error.param,
        "code": error.code,
    }
    if isinstance(error, RoutingRefusedError):
        inner["context"] = error.context
    return msgspec.json.encode({"error": inner})


def overflow_body(message: str) -> bytes:
    """A prompt that is too long, in the words that clients of this dialect recognise."""
    return msgspec.json.encode(
        {
            "error": {
                "message": message,
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        }
    )


def upstream_error_body(error: UpstreamStatusError) -> bytes:
    """The backend's own error body where it has the dialect's shape, else wrapped into it."""
    decoded = as_object(error.body)
    inner = decoded.get("error") if decoded is not None else None
    if isinstance(inner, dict) and isinstance(inner.get("message"), str):
        is_bare = error.body.lstrip()[:1] == b"{"
        return error.body if is_bare else msgspec.json.encode(decoded)
    return msgspec.json.encode(
        {
            "error": {
                "message": error.message,
                "type": "server_error" if error.upstream_status >= 500 else "invalid_request_error",
                "param": None,
                "code": "upstream_error",
            }
        }
    )


def as_object(body: bytes) -> dict[str, Any] | None:
    """`body` as a JSON object. A list with one object is unwrapped (Google's habit); else None."""
    try:
        decoded = msgspec.json.decode(body)
    except UNREADABLE:
        return None
    if isinstance(decoded, list) and len(decoded) == 1:
        decoded = decoded[0]
    return decoded if isinstance(decoded, dict) else None


def error_sentence(body: bytes, *, limit: int = 300) -> str:
    """What an error body says, in one bounded line; empty where it says nothing."""
    decoded = as_object(body)
    inner: Any = decoded.get("error", decoded) if decoded is not None else None
    if isinstance(inner, dict):
        inner = inner.get("message") or inner.get("detail") or ""
    if not isinstance(inner, str):
        inner = body[: limit * 2].decode("utf-8", "replace") if decoded is None else ""
    line = " ".join(inner.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def stream_error_event(
    error: NexusError, *, endpoint: Endpoint, chunk_id: str, model: str, created: int
) -> bytes:
    """The event that ends a broken stream: a chunk whose `error` key makes real clients raise.

    Measured with openai-python, openai-node and the Vercel AI SDK: each raises on a data event
    with a top-level `error`; readers that know only chunks see `finish_reason: "error"`.
    """
    is_chat = endpoint is Endpoint.CHAT
    content: dict[str, Any] = {"delta": {}} if is_chat else {"text": ""}
    chunk = {
        "id": chunk_id,
        "object": "chat.completion.chunk" if is_chat else "text_completion",
        "created": created,
        "model": model,
        "choices": [{"index": 0, **content, "finish_reason": "error"}],
        "error": {
            "message": error.message,
            "type": error.type,
            "code": error.code,
            "param": None,
        },
    }
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"
