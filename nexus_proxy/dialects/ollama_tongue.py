"""Ollama's `/api/chat`, as it is asked where only that keeps a prompt whole.

Its OpenAI endpoint cannot size the context, and drops the oldest messages of what does not fit; the
native one takes `num_ctx`. Whatever fits anyway is asked in chat, since a different `num_ctx` has
the model loaded anew.

- `truncate` is false: what does not fit even then is an error, and no shorter prompt.
- Pictures by data URL; by address, sound and files are refused, as is `n` above 1.
- `tool_choice` is not Ollama's: `none` leaves the tools out, more than `auto` is noted.
- Samplers go under `options`; a JSON schema is its `format`. All else is dropped with a note.
- Of an answer, `thinking` is `reasoning_content`. Calls come whole, mostly without ids: they get
  some. Ids of results are looked up for the name of the tool, which is what Ollama goes by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Raw, Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.chat_request import (
    CHANGES_NOTHING,
    DATA_URL,
    arguments,
    asides,
    calls_of,
    chosen,
    functions,
    listed,
    longest,
    numbered,
    refuse,
    schema_of,
    stops,
    texts,
)
from nexus_proxy.dialects.openai import ABSENT, error_sentence, says_nothing
from nexus_proxy.dialects.openai_stream import Usage
from nexus_proxy.dialects.sse import DONE
from nexus_proxy.dialects.tongue import Failed, Named, Said, usage_fields
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import ModelInfo

MEDIA_TYPE = b"application/x-ndjson"
_SAMPLERS = (
    *("temperature", "top_p", "top_k", "min_p", "typical_p", "seed", "repeat_penalty"),
    *("repeat_last_n", "presence_penalty", "frequency_penalty"),
)
_CONSUMED = CHANGES_NOTHING | {
    *(*_SAMPLERS, "max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice"),
    *("parallel_tool_calls", "response_format", "reasoning_effort", "chat_template_kwargs"),
    *("user", "safety_identifier"),
}
_REFUSED = {
    "n": "Ollama gives one answer to a request; ask several times",
    "logit_bias": "Ollama's models cannot be biased by token",
    "modalities": "Ollama's models do not speak",
    "functions": "functions have no counterpart at Ollama; send them as tools",
}
_encode = msgspec.json.encode


class OllamaTongue:
    """See `Tongue`. `num_ctx` is the context that the model is to have, in tokens."""

    headers = b""
    key_header: str | None = None

    def __init__(self, num_ctx: int) -> None:
        self.num_ctx = num_ctx

    def path(self, model: str, *, streams: bool) -> str:
        """See `Tongue.path`."""
        return "/api/chat"

    def say(self, chat: Json, model: ModelInfo, room: int | None) -> Said:
        """See `Tongue.say`."""
        refuse(chat, _REFUSED)
        tools, notes = functions(chat)
        tools, mode, forced = chosen(chat, tools)
        if mode == "required" or forced:
            notes.append("tool_choice: Ollama lets the model choose")
        words, blank = stops(chat)
        options = {key: chat[key] for key in _SAMPLERS if chat.get(key) is not None}
        options["num_ctx"] = self.num_ctx
        if (most := longest(chat)) is not None:
            options["num_predict"] = most if room is None else min(most, room)
        if words:
            options["stop"] = words
        body: Json = {
            "model": chat["model"],
            "messages": list(_messages(chat)),
            "stream": chat.get("stream") is True,
            "truncate": False,
            "options": options,
            **_form(chat),
            **_thinking(chat),
        }
        if tools and mode != "none":
            body["tools"] = tools
        for key in ("logprobs", "top_logprobs"):
            if chat.get(key):
                body[key] = chat[key]
        dropped = sorted(chat.keys() - _CONSUMED)
        notes += [*asides(chat), *blank]
        notes += [f"{key[:60]}: has no counterpart at Ollama" for key in dropped]
        return Said(body=body, notes=notes)

    def whole(self, body: bytes, named: Named) -> bytes:
        """See `Tongue.whole`."""
        line = _decode(body)
        if line.message is None or not line.done:
            raise ValueError("no whole answer")
        said = line.message
        message: Json = {"role": "assistant", "content": said.content or None, "refusal": None}
        if said.thinking:
            message["reasoning_content"] = said.thinking
        if said.tool_calls:
            message["tool_calls"] = [_call(call, n) for n, call in enumerate(said.tool_calls)]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": _logprobs(line),
            "finish_reason": _finish(line, has_calls=bool(said.tool_calls)),
        }
        top = _top(named, "chat.completion")
        return _encode({**top, "choices": [choice], **usage_fields(_usage(line))})

    def ear(self, named: Named) -> OllamaEar:
        """See `Tongue.ear`."""
        return OllamaEar(named)

    def failure(self, status: int, body: bytes) -> Failed:
        """See `Tongue.failure`."""
        return Failed(status=status, body=_error(error_sentence(body) or "no reason given"))


# -- the request -------------------------------------------------------------------------------


def _messages(chat: Json) -> Iterator[Json]:
    names: dict[str, str] = {}
    for where, message in numbered(listed(chat, "messages")):
        role, content = message.get("role"), message.get("content")
        if role in ("system", "developer"):
            yield {"role": "system", "content": _text(content, where)}
        elif role == "user":
            yield _user(content, where)
        elif role == "assistant":
            yield _assistant(message, where, names)
        elif role == "tool":
            name = names.get(str(message.get("tool_call_id")))
            told: Json = {"role": "tool", "content": _text(content, where)}
            yield {**told, "tool_name": name} if name else told
        else:
            raise InvalidRequestError(f"{where}.role: is not taken by Ollama", param="messages")


def _text(content: Any, where: str) -> str:
    return "\n\n".join(text for text, _ in texts(content, where))


def _user(content: Any, where: str) -> Json:
    words, pictures = [], []
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        match part:
            case {"type": "text", "text": str(text)}:
                words.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)} if (
                data := DATA_URL.fullmatch(url)
            ):
                pictures.append(data[2])
            case _:
                raise InvalidRequestError(
                    f"{where}.content: Ollama takes text, and pictures as data URLs",
                    param="messages",
                )
    told: Json = {"role": "user", "content": "\n\n".join(words)}
    return {**told, "images": pictures} if pictures else told


def _assistant(message: Json, where: str, names: dict[str, str]) -> Json:
    told: Json = {"role": "assistant", "content": _text(message.get("content"), where)}
    if thought := message.get("reasoning_content") or message.get("reasoning"):
        told["thinking"] = thought
    calls = []
    for n, call in enumerate(calls_of(message, where)):
        name, given = arguments(call, f"{where}.tool_calls.{n}")
        names[str(call.get("id"))] = name
        calls.append({"function": {"name": name, "arguments": given}})
    return {**told, "tool_calls": calls} if calls else told


def _form(chat: Json) -> Json:
    kind, schema = schema_of(chat)
    if kind == "json_schema":
        return {"format": schema}
    return {"format": "json"} if kind == "json_object" else {}


def _thinking(chat: Json) -> Json:
    effort, more = chat.get("reasoning_effort"), chat.get("chat_template_kwargs")
    if isinstance(effort, str):
        return {"think": False if effort == "none" else effort}
    wanted = more.get("enable_thinking") if isinstance(more, dict) else None
    return {"think": wanted} if isinstance(wanted, bool) else {}


# -- the answer --------------------------------------------------------------------------------


class _Function(Struct):
    name: str = ""
    arguments: dict[str, Any] = {}


class _Call(Struct):
    function: _Function
    id: str = ""


class _Message(Struct):
    content: str = ""
    thinking: str = ""
    tool_calls: list[_Call] = []


class _Line(Struct):
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: Raw = ABSENT
    error: str | None = None


_decode = msgspec.json.Decoder(_Line).decode


class OllamaEar:
    """See `Ear`."""

    def __init__(self, named: Named) -> None:
        self.beat = False
        self._top = _top(named, "chat.completion.chunk")
        self._parts: list[bytes] = []
        self.pending = 0
        self._calls = 0
        self._begun = False

    def feed(self, data: bytes) -> bytes:
        """See `Ear.feed`."""
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts, self.pending = [], 0
        if rest:
            self._parts.append(rest)
            self.pending += len(rest)
        return b"".join(self._say(_decode(line)) for line in lines if line.strip())

    def _say(self, line: _Line) -> bytes:
        if line.error is not None:
            return b"data: " + _error(line.error) + b"\n\n"
        said = line.message or _Message()
        delta: Json = {} if self._begun else {"role": "assistant", "content": ""}
        self._begun = True
        if said.content:
            delta["content"] = said.content
        if said.thinking:
            delta["reasoning_content"] = said.thinking
        if said.tool_calls:
            found = enumerate(said.tool_calls, self._calls)
            delta["tool_calls"] = [{"index": n, **_call(call, n)} for n, call in found]
            self._calls += len(said.tool_calls)
        out = self._chunk(delta, _logprobs(line)) if delta else b""
        if not line.done:
            return out
        out += self._chunk({}, None, _finish(line, has_calls=self._calls > 0))
        usage = {**self._top, "choices": [], **usage_fields(_usage(line))}
        return b"%bdata: %b\n\ndata: %b\n\n" % (out, _encode(usage), DONE)

    def _chunk(self, delta: Json, logprobs: Json | None, finish: str | None = None) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "finish_reason": finish}
        if logprobs is not None:
            choice["logprobs"] = logprobs
        return b"data: " + _encode({**self._top, "choices": [choice]}) + b"\n\n"


def _top(named: Named, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{named.created}",
        "object": kind,
        "created": named.created,
        "model": named.model,
    }


def _call(call: _Call, position: int) -> Json:
    told = _encode(call.function.arguments).decode()
    function = {"name": call.function.name, "arguments": told}
    return {"id": call.id or f"call_{position}", "type": "function", "function": function}


def _finish(line: _Line, *, has_calls: bool) -> str:
    if line.done_reason == "length":
        return "length"
    return "tool_calls" if has_calls else "stop"


def _usage(line: _Line) -> Usage:
    read, made = line.prompt_eval_count, line.eval_count
    return Usage(read, made, None if read is None or made is None else read + made)


def _logprobs(line: _Line) -> Json | None:
    return None if says_nothing(line.logprobs) else {"content": line.logprobs}


def _error(message: str) -> bytes:
    told = {"message": message, "type": "server_error", "param": None, "code": None}
    return _encode({"error": told})
