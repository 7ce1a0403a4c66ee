"""Ollama's native dialect: requests as OpenAI chat.

`/api/chat` and `/api/generate` become chat; `/api/generate` with `raw` or `suffix` becomes a plain
completion, since no template is wanted there. `/api/embed` and `/api/embeddings` become embeddings.
- Calls have no ids here: they get some, and results meet them by `tool_name`, or in turn.
- `format` becomes `response_format`. `think` becomes `chat_template_kwargs.enable_thinking`, which
  llama.cpp, vLLM and others read, or `reasoning_effort` where it is a word.
- `options` that other servers know are carried (`num_predict` as `max_tokens`), samplers under
  their own names. `num_ctx` and how the model is loaded are the backend's to say, so they are left
  out with a note, as is `keep_alive`. `truncate` and `shift` are consumed: a prompt that is too
  long is always refused.
- Pictures that a tool shows follow its result in a user message. Fields that Ollama does not have
  are left out with a note.
- A request without any prompt, with which Ollama unloads a model, is refused, as are `template`
  and `context`. One that loads does not come here (`api/loading`).
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects.base import Json, Translated
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import InvalidRequestError, NexusError


class Route(str, Enum):
    """The hot routes of the dialect; the values are their paths."""

    CHAT = "/api/chat"
    GENERATE = "/api/generate"
    EMBED = "/api/embed"
    EMBEDDINGS = "/api/embeddings"


_CARRIED = frozenset(
    {
        "temperature",
        "top_p",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "repeat_last_n",
    }
)
_KNOWN = frozenset(
    {
        *("model", "stream", "messages", "prompt", "suffix", "system", "images", "template"),
        *("context", "raw", "format", "tools", "think", "logprobs", "top_logprobs", "options"),
        *("keep_alive", "truncate", "shift", "input", "dimensions"),
    }
)
_PICTURES = {
    "iVBORw0KGgo": "image/png",
    "/9j/": "image/jpeg",
    "R0lGOD": "image/gif",
    "UklGR": "image/webp",
    "Qk": "image/bmp",
}
"""How base64 of each kind of picture begins."""


class _Function(Struct):
    name: str | None = None


class _Call(Struct):
    id: str | None = None
    function: _Function | None = None


class _Message(Struct):
    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None


class _Request(Struct):
    """What must be of one type wherever it comes."""

    messages: list[_Message] | None = None
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: list[str] | None = None
    options: dict[str, Any] | None = None


def to_openai(route: Route, asked: Json) -> Translated:
    """The request in OpenAI's form. Raises `InvalidRequestError` for what cannot be honoured."""
    _check(asked)
    endpoint = _endpoint(route, asked)
    model = {"model": asked["model"]} if "model" in asked else {}
    strange = sorted(key for key in asked.keys() - _KNOWN if asked[key] is not None)
    notes = [f"left out what Ollama does not have: {', '.join(strange)[:200]}"] if strange else []
    if asked.get("keep_alive") is not None:
        notes.append("left out keep_alive: how long a model stays loaded is the backend's to say")
    if endpoint is Endpoint.EMBEDDINGS:
        body = model | _embeddings(route, asked)
        if asked.get("options"):
            notes.append("left out options: they say nothing of embeddings")
        return Translated(endpoint=endpoint, body=body, notes=notes)
    stream = asked.get("stream")
    body = {**model, "stream": stream is None or bool(stream)}
    if endpoint is Endpoint.COMPLETIONS:
        body |= _completion(asked)
    else:
        body["messages"] = _generate(asked) if route is Route.GENERATE else _messages(asked)
        body |= _constraints(asked)
    _carry_options(asked, body, notes)
    return Translated(endpoint=endpoint, body=body, notes=notes)


def _endpoint(route: Route, asked: Json) -> Endpoint:
    if route in (Route.EMBED, Route.EMBEDDINGS):
        return Endpoint.EMBEDDINGS
    if route is Route.GENERATE and (asked.get("raw") or asked.get("suffix")):
        return Endpoint.COMPLETIONS
    return Endpoint.CHAT


def error_body(error: NexusError) -> bytes:
    """`{"error": "…"}`; with a newline after it, it also ends a broken stream."""
    return msgspec.json.encode({"error": error.message})


def _check(asked: Json) -> None:
    try:
        msgspec.convert(asked, _Request)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"the body does not fit: {error}") from None


# -- prompts -----------------------------------------------------------------------------------


def _messages(asked: Json) -> list[Json]:
    listed = asked.get("messages")
    if not listed:
        raise _loads("messages")
    messages: list[Json] = []
    waiting: list[tuple[str, str]] = []
    shown: list[Json] = []
    for message in listed:
        if message.get("role") == "tool":
            messages.append(_result(message, waiting))
            shown += _pictures(message)
            continue
        if shown:
            messages.append({"role": "user", "content": shown})
            shown = []
        told: Json = {"role": message.get("role"), "content": _content(message)}
        if message.get("thinking"):
            told["reasoning_content"] = message["thinking"]
        if calls := _calls(message, len(messages)):
            told["tool_calls"] = calls
            waiting = [(call["id"], call["function"]["name"]) for call in calls]
        messages.append(told)
    return [*messages, {"role": "user", "content": shown}] if shown else messages


def _calls(message: Json, turn: int) -> list[Json]:
    """The calls of a message; ids hang on their place alone, so that a prompt stays the same."""
    calls = []
    for n, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or {}
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments or {}).decode()
        told = {"name": function.get("name") or "", "arguments": arguments}
        id_ = call.get("id") or f"call_{turn}_{n}"
        calls.append({"id": id_, "type": "function", "function": told})
    return calls


def _result(message: Json, waiting: list[tuple[str, str]]) -> Json:
    """What a tool gave back, with the id of the call that it answers."""
    id_, name = message.get("tool_call_id"), message.get("tool_name") or message.get("name")
    named = [call for call in waiting if call[0] == id_ or (not id_ and call[1] == name)]
    if not named and not waiting:
        raise InvalidRequestError(
            "a message with the role `tool` answers no call of the message before it",
            param="messages",
        )
    call = (named or waiting)[0]
    waiting.remove(call)
    return {"role": "tool", "tool_call_id": call[0], "content": message.get("content") or ""}


def _generate(asked: Json) -> list[Json]:
    for key in ("template", "context"):
        if asked.get(key):
            raise InvalidRequestError(
                f"{key} exists only within one Ollama server; send the conversation to /api/chat",
                param=key,
            )
    if not asked.get("prompt") and not asked.get("images"):
        raise _loads("prompt")
    system = asked.get("system")
    first = [{"role": "system", "content": system}] if system else []
    said = {"content": asked.get("prompt") or "", "images": asked.get("images")}
    return [*first, {"role": "user", "content": _content(said)}]


def _completion(asked: Json) -> Json:
    if asked.get("images") or asked.get("format"):
        raise InvalidRequestError("images and format do not go with raw or suffix")
    if not asked.get("prompt"):
        raise _loads("prompt")
    suffix = {"suffix": asked["suffix"]} if asked.get("suffix") else {}
    return {"prompt": asked["prompt"], **suffix}


def _content(message: Json) -> Any:
    text, pictures = message.get("content") or "", _pictures(message)
    if not pictures:
        return text
    return [*([{"type": "text", "text": text}] if text else []), *pictures]


def _pictures(message: Json) -> list[Json]:
    images = message.get("images") or ()
    return [{"type": "image_url", "image_url": {"url": _url(image)}} for image in images]


def _url(image: Any) -> str:
    if isinstance(image, str):
        if image.startswith("data:"):
            return image
        for beginning, media_type in _PICTURES.items():
            if image.startswith(beginning):
                return f"data:{media_type};base64,{image}"
    raise InvalidRequestError(
        "an image must be base64 of a PNG, JPEG, GIF, WebP or BMP", param="images"
    )


def _embeddings(route: Route, asked: Json) -> Json:
    given = asked.get("input" if route is Route.EMBED else "prompt")
    body = {"input": given, "encoding_format": "float"}
    size = asked.get("dimensions")
    return {**body, "dimensions": size} if size else body


def _loads(what: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{what} is missing or empty. With that, Ollama loads or unloads a model; Nexus leaves it "
        "to its backends, which load what a request needs",
        param=what,
    )


# -- parameters --------------------------------------------------------------------------------


def _constraints(asked: Json) -> Json:
    """What shapes the answer: its form, tools, thinking, log probabilities."""
    told: Json = {}
    form = asked.get("format")
    if form == "json":
        told["response_format"] = {"type": "json_object"}
    elif isinstance(form, dict) and form:
        schema = {"name": "answer", "schema": form, "strict": True}
        told["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form:
        raise InvalidRequestError('format must be "json" or a JSON schema', param="format")
    if asked.get("tools"):
        told["tools"] = asked["tools"]
    think = asked.get("think")
    if isinstance(think, bool):
        told["chat_template_kwargs"] = {"enable_thinking": think}
    elif think:
        told["reasoning_effort"] = think
    for key in ("logprobs", "top_logprobs"):
        if asked.get(key):
            told[key] = asked[key]
    return told


def _carry_options(asked: Json, body: Json, notes: list[str]) -> None:
    options = asked.get("options") or {}
    length = options.get("num_predict")
    if isinstance(length, int) and length >= 0:
        body["max_tokens"] = length
    left = []
    for key, value in options.items():
        if key in _CARRIED:
            if value is not None:
                body[key] = value
        elif key != "num_predict":
            left.append(key)
    if left:
        notes.append(f"left out options that only Ollama has: {', '.join(sorted(left))[:200]}")
