"""The Anthropic Messages dialect, to and from OpenAI's chat.

What chat cannot carry:

- Server tools (`web_search_…`, `code_execution_…`) and MCP servers run at Anthropic: dropped,
  with a note. A `tool_choice` that names one is refused.
- Signatures of thinking and redacted thinking can be read by Anthropic only: dropped, with a note.
- A file by id and any block of an unknown type in the user's turn is refused: an answer that had
  not seen it would be wrong.
- `anthropic-beta`, in which clients list whatever they know of, is for Anthropic alone.
- Any other field is dropped, with a note: `cache_control` too, wherever it stands.

The system block that begins `x-anthropic-billing-header:` differs in each request and would make a
backend's prompt cache useless: `without_billing` drops it, unless `routing.stabilise_prompts` is
off.

A `system` message after the first turn becomes a `<system-reminder>` of the user: many local
templates take a system message at the beginning only, and moved there it would spoil the prompt
cache. Text blocks of one turn are joined by a blank line. Images in tool results follow in a user's
message, since chat's tool messages hold text.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from nexus_proxy.dialects.anthropic_stream import REFUSED, MessageStream, stop_of, usage_of
from nexus_proxy.dialects.base import Asked, Json, Translated
from nexus_proxy.dialects.chat_pieces import counts
from nexus_proxy.dialects.openai import error_sentence
from nexus_proxy.dialects.sse import MEDIA_TYPE
from nexus_proxy.errors import InvalidRequestError, NexusError, UpstreamStatusError

BILLING = "x-anthropic-billing-header:"
_UNCACHED = "cache_control: left out; backends of chat cache what they can without being told"
WIDE_SUFFIX = "[1m]"
"""With which Claude Code asks for a context of a million tokens; no part of a model's name."""
_KEPT = ("max_tokens", "temperature", "top_p", "top_k", "stream")
_UNDERSTOOD = {
    *_KEPT,
    *("model", "messages", "system", "tools", "tool_choice", "stop_sequences", "metadata"),
    *("thinking", "output_config", "output_format", "cache_control", "betas"),
}
_READ = {
    "text": {"type", "text"},
    "image": {"type", "source"},
    "document": {"type", "source", "title"},
    "search_result": {"type", "source", "title", "content"},
    "tool_result": {"type", "tool_use_id", "content", "is_error"},
    "tool_use": {"type", "id", "name", "input", "caller"},
    "thinking": {"type", "thinking", "signature"},
    "tool": {"type", "name", "description", "input_schema", "strict"},
}
"""What is made use of in each kind of block, and in a tool."""
_NUMBER = re.compile(r"\d+")
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class Messages:
    """Anthropic's `/v1/messages`; see `Dialect`."""

    stream_type = MEDIA_TYPE
    ping = b'event: ping\ndata: {"type":"ping"}\n\n'
    id_header: bytes | None = b"request-id"

    def to_chat(self, body: Json) -> Translated:
        """See `Dialect.to_chat`."""
        chat, notes = _Request(body).chat()
        return Translated(body=chat, notes=notes, kept=body.get("stop_sequences"))

    def from_chat(self, answer: Json, asked: Asked) -> Json:
        """See `Dialect.from_chat`. Raises `ValueError` for arguments of a tool that are no JSON."""
        choice = (answer.get("choices") or [{}])[0]
        message = choice.get("message") or {}
        content: list[Json] = []
        thought = message.get("reasoning_content") or message.get("reasoning")
        if thought:
            content.append({"type": "thinking", "thinking": thought, "signature": ""})
        said = message.get("content") or message.get("refusal")
        if said:
            content.append({"type": "text", "text": said})
        calls = message.get("tool_calls") or []
        for at, call in enumerate(calls):
            content.append(_tool_use(call, f"toolu_{asked.id}_{at}"))
        if message.get("refusal"):
            choice = {**choice, "finish_reason": REFUSED}
        reason, sequence = stop_of(choice, bool(calls), asked)
        return {
            "id": f"msg_{asked.id}",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": content,
            "stop_reason": reason,
            "stop_sequence": sequence,
            "usage": usage_of(counts(answer), asked.prompt_tokens),
        }

    def stream(self, asked: Asked) -> MessageStream:
        """See `Dialect.stream`."""
        return MessageStream(asked, error_object)

    def error_body(self, error: NexusError, request_id: str) -> bytes:
        """`{"type": "error", "error": {type, message}, "request_id"}`."""
        return msgspec.json.encode(error_object(error, request_id))


def without_billing(body: Json) -> tuple[Json, str | None]:
    """A request without Claude Code's billing header, and a note if it had one."""
    system = body.get("system")
    blocks = system if isinstance(system, list) else [system]
    kept = [block for block in blocks if not _is_billing(block)]
    if len(kept) == len(blocks):
        return body, None
    note = "system: the billing header was left out, to keep the prompt cacheable"
    return {**body, "system": kept}, note


def _is_billing(block: Any) -> bool:
    text = block.get("text") if isinstance(block, dict) else block
    return isinstance(text, str) and text.startswith(BILLING)


def error_object(error: NexusError, request_id: str) -> Json:
    """An error, in an answer and in a stream alike. A prompt that is too long is told in the
    words that Claude Code looks for, with the backend's own numbers."""
    status, message = error.status, error.message
    if isinstance(error, UpstreamStatusError):
        status = error.upstream_status
        message = error_sentence(error.body) or message
        if b"context_length_exceeded" in error.body:
            numbers = sorted(map(int, _NUMBER.findall(message)))
            message = (
                f"prompt is too long: {numbers[-1]} tokens > {numbers[0]} maximum"
                if len(numbers) > 1
                else f"prompt is too long: {message}"
            )
    fallback = "api_error" if status >= 500 else "invalid_request_error"
    return {
        "type": "error",
        "error": {"type": _TYPES.get(status, fallback), "message": message},
        "request_id": request_id,
    }


def _tool_use(call: Json, default_id: str) -> Json:
    function = call.get("function") or {}
    arguments = msgspec.json.decode(function.get("arguments") or "{}")
    if not isinstance(arguments, dict):
        raise ValueError("the arguments of a tool call are no object")
    return {
        "type": "tool_use",
        "id": call.get("id") or default_id,
        "name": function.get("name") or "",
        "input": arguments,
    }


class _Request:
    """One request on its way to chat."""

    def __init__(self, body: Json) -> None:
        self._body = body
        self._notes: list[str] = []
        self._messages: list[Json] = []

    def chat(self) -> tuple[Json, list[str]]:
        body = self._body
        model, turns = body.get("model"), body.get("messages")
        if not isinstance(model, str) or not model:
            raise InvalidRequestError("model: the body names no model", param="model")
        if not isinstance(turns, list) or not turns:
            raise InvalidRequestError("messages: at least one message is required")
        self._system(body.get("system"))
        for at, turn in enumerate(turns):
            self._turn(turn, f"messages.{at}")
        chat: Json = {"model": model.removesuffix(WIDE_SUFFIX), "messages": self._messages}
        chat.update({key: body[key] for key in _KEPT if body.get(key) is not None})
        if stops := body.get("stop_sequences"):
            chat["stop"] = stops
        metadata = _object(body.get("metadata"), "metadata")
        if user := metadata.get("user_id"):
            chat["user"] = user
        if metadata.keys() - {"user_id"}:
            self._drop("metadata: all but user_id was left out")
        if body.get("cache_control"):
            self._drop(_UNCACHED)
        self._tools(chat)
        self._thinking(chat)
        for key in sorted(body.keys() - _UNDERSTOOD):
            self._drop(f"{key[:60]}: has no counterpart in chat")
        return chat, self._notes

    def _drop(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    def _look(self, kind: str, told: Json) -> None:
        """Note what is not made use of in a block or a tool."""
        for key in sorted(told.keys() - _READ.get(kind, told.keys())):
            if key == "cache_control":
                self._drop(_UNCACHED)
            elif told[key] is not None:
                self._drop(f"{kind}.{key[:60]}: has no counterpart in chat")

    def _system(self, system: Any) -> None:
        if system is None:
            return
        texts = []
        for block in _blocks(system, "system"):
            self._look("text", block)
            text = _text(block, "system")
            if text:
                texts.append(text)
        if texts:
            self._messages.append({"role": "system", "content": "\n\n".join(texts)})

    def _turn(self, turn: Any, where: str) -> None:
        role = turn.get("role") if isinstance(turn, dict) else None
        if role not in ("user", "assistant", "system"):
            raise InvalidRequestError(f"{where}.role: must be user, assistant or system")
        blocks = _blocks(turn.get("content"), f"{where}.content")
        if role == "user":
            self._user(blocks, where)
        elif role == "assistant":
            self._assistant(blocks, where)
        else:
            said = "\n\n".join(_text(block, where) for block in blocks)
            self._say([_part(f"<system-reminder>\n{said}\n</system-reminder>")])

    def _user(self, blocks: list[Json], where: str) -> None:
        parts: list[Json] = []
        for block in blocks:
            if block.get("type") == "tool_result":
                parts += self._tool_result(block, where)
        for block in blocks:
            if block.get("type") != "tool_result":
                parts += self._user_parts(block, where)
        self._say(parts)

    def _say(self, parts: list[Json]) -> None:
        """Add what the user says; turns that follow one another are one."""
        if not parts:
            return
        last = self._messages[-1] if self._messages else {}
        if last.get("role") == "user":
            before = last["content"]
            parts = [*([_part(before)] if isinstance(before, str) else before), *parts]
            self._messages.pop()
        self._messages.append({"role": "user", "content": _joined(parts)})

    def _user_parts(self, block: Json, where: str) -> list[Json]:
        kind = block.get("type")
        self._look(str(kind), block)
        source: Any = block.get("source")
        if kind in ("image", "document"):
            source = _object(source, f"{where}.source")
        if kind == "text":
            text = _text(block, where)
            return [_part(text)] if text else []
        if kind == "image" and source.get("type") == "base64":
            url = f"data:{source.get('media_type')};base64,{source.get('data')}"
            return [{"type": "image_url", "image_url": {"url": url}}]
        if kind == "image" and source.get("type") == "url":
            return [{"type": "image_url", "image_url": {"url": source.get("url")}}]
        if kind == "document" and source.get("type") == "text":
            return [_part(str(source.get("data") or ""))]
        if kind == "document" and source.get("type") == "content":
            inner = _blocks(source.get("content"), where)
            return [part for b in inner for part in self._user_parts(b, where)]
        if kind == "document" and source.get("type") == "base64":
            data = f"data:{source.get('media_type')};base64,{source.get('data')}"
            name = block.get("title") or "document.pdf"
            return [{"type": "file", "file": {"filename": name, "file_data": data}}]
        if kind == "search_result":
            inner = _blocks(block.get("content"), where)
            head = f"{block.get('title') or ''} ({block.get('source') or ''})"
            return [_part(head), *(_part(_text(b, where)) for b in inner)]
        named = f"{kind} from {source.get('type')}" if isinstance(source, dict) and source else kind
        raise InvalidRequestError(f"{where}.content: no backend here can take a block of {named}")

    def _tool_result(self, block: Json, where: str) -> list[Json]:
        """Add the tool's message; returns what of it only a user's message can carry."""
        self._look("tool_result", block)
        told = block.get("content")
        inner = _blocks(told, where) if told else []
        parts = [part for b in inner for part in self._user_parts(b, where)]
        texts = [part["text"] for part in parts if part["type"] == "text"]
        said = "\n\n".join(texts)
        if block.get("is_error"):
            said = f"Error: {said}"
        identity = block.get("tool_use_id")
        if not isinstance(identity, str):
            raise InvalidRequestError(f"{where}.content: a tool_result names no tool_use_id")
        self._messages.append({"role": "tool", "tool_call_id": identity, "content": said})
        return [part for part in parts if part["type"] != "text"]

    def _assistant(self, blocks: list[Json], where: str) -> None:
        texts, thoughts, calls = [], [], []
        for block in blocks:
            kind = block.get("type")
            self._look(str(kind), block)
            if kind == "text":
                texts.append(_text(block, where))
            elif kind == "thinking":
                thoughts.append(str(block.get("thinking") or ""))
                if block.get("signature"):
                    self._drop("thinking: signatures were left out; only Anthropic reads them")
            elif kind == "tool_use":
                arguments = msgspec.json.encode(block.get("input") or {}).decode()
                function = {"name": block.get("name"), "arguments": arguments}
                calls.append({"id": block.get("id"), "type": "function", "function": function})
            else:
                self._drop(f"messages: {str(kind)[:60]} of an earlier answer was left out")
        message: Json = {"role": "assistant", "content": "\n\n".join(filter(None, texts)) or None}
        if any(thoughts):
            message["reasoning_content"] = "\n\n".join(filter(None, thoughts))
        if calls:
            message["tool_calls"] = calls
        if message["content"] or calls or any(thoughts):
            self._messages.append(message)

    def _tools(self, chat: Json) -> None:
        tools, dropped = [], set()
        for tool in _blocks(self._body.get("tools") or [], "tools"):
            if not isinstance(tool.get("name"), str):
                raise InvalidRequestError("tools: each tool needs a name")
            if tool.get("type") not in (None, "custom"):
                dropped.add(tool["name"])
                self._drop(f"tools: {tool['name'][:60]} runs at Anthropic only and was left out")
                continue
            self._look("tool", tool)
            schema = tool.get("input_schema") or {"type": "object", "properties": {}}
            function: Json = {"name": tool["name"], "parameters": schema}
            if tool.get("description"):
                function["description"] = tool["description"]
            if tool.get("strict") is not None:
                function["strict"] = tool["strict"]
            tools.append({"type": "function", "function": function})
        if tools:
            chat["tools"] = tools
        self._tool_choice(chat, dropped)

    def _tool_choice(self, chat: Json, dropped: set[str]) -> None:
        choice = self._body.get("tool_choice")
        if not isinstance(choice, dict):
            return
        kind, name = choice.get("type"), choice.get("name")
        if kind == "tool" and name in dropped:
            raise InvalidRequestError(f"tool_choice: {name} runs at Anthropic only")
        if "tools" not in chat:
            return
        plain = {"auto": "auto", "any": "required", "none": "none"}.get(str(kind))
        if plain is None and kind != "tool":
            raise InvalidRequestError("tool_choice.type: must be auto, any, none or tool")
        chat["tool_choice"] = plain or {"type": "function", "function": {"name": name}}
        if choice.get("disable_parallel_tool_use"):
            chat["parallel_tool_calls"] = False

    def _thinking(self, chat: Json) -> None:
        output = _object(self._body.get("output_config"), "output_config")
        thinking = _object(self._body.get("thinking"), "thinking")
        effort = output.get("effort")
        if thinking.get("type") == "disabled":
            self._drop("thinking: that it is switched off cannot be told to this backend")
        elif effort:
            chat["reasoning_effort"] = "high" if effort in ("xhigh", "max") else effort
            if effort in ("xhigh", "max"):
                self._drop("output_config.effort: lowered to high, the most that chat knows")
        elif isinstance(budget := thinking.get("budget_tokens"), int):
            chat["reasoning_effort"] = (
                "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
            )
        form = output.get("format") or self._body.get("output_format")
        form = _object(form, "output_config.format")
        if form.get("type") == "json_schema":
            schema = {"name": "answer", "schema": form.get("schema"), "strict": True}
            chat["response_format"] = {"type": "json_schema", "json_schema": schema}


def _object(value: Any, where: str) -> Json:
    if value is None or isinstance(value, dict):
        return value or {}
    raise InvalidRequestError(f"{where}: must be an object")


def _blocks(content: Any, where: str) -> list[Json]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if isinstance(content, list) and all(isinstance(block, dict) for block in content):
        return content
    raise InvalidRequestError(f"{where}: must be a string or a list of blocks")


def _text(block: Json, where: str) -> str:
    text = block.get("text")
    if block.get("type") != "text" or not isinstance(text, str):
        raise InvalidRequestError(f"{where}: must be a block of text")
    return text


def _part(text: str) -> Json:
    return {"type": "text", "text": text}


def _joined(parts: list[Json]) -> str | list[Json]:
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts
