"""Reading a chat request to say it in another dialect."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.openai import UNREADABLE
from nexus_proxy.errors import InvalidRequestError

DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.+)", re.DOTALL)
"""Media type and data."""
CHANGES_NOTHING = frozenset(
    {
        *("model", "messages", "stream", "stream_options", "store", "metadata"),
        *("prompt_cache_key", "prompt_cache_retention", "n", "logprobs", "top_logprobs"),
        *("logit_bias", "modalities", "functions", "function_call"),
    }
)
"""Fields that need no note when a provider has no counterpart: they are refused by `refuse`, read
by the translation itself, or change no answer."""


def refuse(chat: Json, why: Mapping[str, str]) -> None:
    """Raises `InvalidRequestError` for fields whose loss would make another answer, and for which
    `why` has a reason."""
    asked = {
        "n": chat.get("n") not in (None, 1),
        "logprobs": bool(chat.get("logprobs")),
        "logit_bias": bool(chat.get("logit_bias")),
        "modalities": "audio" in listed(chat, "modalities"),
        "functions": bool(chat.get("functions")),
    }
    for param, reason in why.items():
        if asked[param]:
            raise InvalidRequestError(f"{param}: {reason}", param=param)


def listed(chat: Json, key: str) -> list[Any]:
    """The list under a key; absent is empty. Raises `InvalidRequestError` for anything else."""
    value = chat.get(key)
    if value is None or isinstance(value, list):
        return value or []
    raise InvalidRequestError(f"{key}: must be a list", param=key)


def functions(chat: Json) -> tuple[list[Json], list[str]]:
    """The tools that are functions, and a note on each other one."""
    tools, notes = [], []
    for tool in listed(chat, "tools"):
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            tools.append(tool)
        else:
            kind = tool.get("type") if isinstance(tool, dict) else tool
            notes.append(f"tools: one of type {str(kind)[:60]} was left out")
    return tools, notes


def asides(chat: Json, *, has_strict: bool = False) -> list[str]:
    """Notes on what stands inside messages and tools and has no counterpart; `has_strict`: that a
    tool's arguments must fit their schema has one."""
    notes = []
    messages = [message for message in listed(chat, "messages") if isinstance(message, dict)]
    if any(message.get("name") for message in messages if message.get("role") != "tool"):
        notes.append("messages: names of those who speak were left out")
    if any(_has_detail(message.get("content")) for message in messages):
        notes.append("messages: the detail in which to look at pictures was left out")
    tools = [] if has_strict else functions(chat)[0]
    if any(tool["function"].get("strict") for tool in tools):
        notes.append("tools: strict was left out")
    return notes


def _has_detail(content: Any) -> bool:
    for part in content if isinstance(content, list) else ():
        match part:
            case {"image_url": {"detail": str(detail)}} if detail != "auto":
                return True
    return False


def chosen(chat: Json, tools: list[Json]) -> tuple[list[Json], str | None, str | None]:
    """The tools that may be called, the mode (`auto`, `none`, `required`; None: not said), and the
    one that must be. Raises `InvalidRequestError`."""
    choice = chat.get("tool_choice")
    match choice:
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [*allowed]}}:
            names = [t.get("function") for t in allowed if isinstance(t, dict)]
            tools = [tool for tool in tools if {"name": tool["function"]["name"]} in names]
            choice = mode
    match choice:
        case None | "auto" | "none" | "required":
            return tools, choice, None
        case {"type": "function", "function": {"name": str(name)}}:
            return tools, "required", name
    raise InvalidRequestError(
        "tool_choice: must be auto, none, required or one function", param="tool_choice"
    )


def longest(chat: Json) -> int | None:
    """How long the answer may be, in tokens; None: it does not say."""
    asked = chat.get("max_completion_tokens")
    asked = chat.get("max_tokens") if asked is None else asked
    return asked if type(asked) is int else None


def stops(chat: Json) -> tuple[list[str], list[str]]:
    """The stop sequences that are not blank, and a note if there were others."""
    stop = chat.get("stop")
    words = [stop] if isinstance(stop, str) else listed(chat, "stop")
    telling = [word for word in words if isinstance(word, str) and word.strip()]
    return telling, ["stop: blank ones were left out"] if len(telling) < len(words) else []


def schema_of(chat: Json) -> tuple[str | None, Json]:
    """The type of `response_format`, and its schema. Raises `InvalidRequestError`."""
    match chat.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return "json_schema", schema
        case {"type": "json_schema"}:
            raise InvalidRequestError(
                "response_format.json_schema.schema: must be an object", param="response_format"
            )
        case {"type": str(kind)}:
            return kind, {}
    return None, {}


def texts(content: Any, where: str) -> list[tuple[str, Json]]:
    """Content that can only be text, with the parts that it stood in. Blank ones are left out."""
    if isinstance(content, str):
        return [(content, {})] if content.strip() else []
    found: list[tuple[str, Json]] = []
    for part in content if isinstance(content, list) else [content] if content else []:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
            raise InvalidRequestError(f"{where}.content: must be text", param="messages")
        if part[kind].strip():
            found.append((part[kind], part))
    return found


def arguments(call: Any, where: str) -> tuple[str, Json]:
    """Name and arguments of a tool call. Raises `InvalidRequestError` for what is no object."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise InvalidRequestError(f"{where}: must be the call of a function", param="messages")
    try:
        told = msgspec.json.decode(function.get("arguments") or "{}", type=dict[str, Any])
    except (*UNREADABLE, TypeError):
        raise InvalidRequestError(
            f"{where}.function.arguments: must be a JSON object", param="messages"
        ) from None
    return str(function.get("name")), told


def calls_of(message: Json, where: str) -> list[Any]:
    """The tool calls of an answer. Raises `InvalidRequestError`."""
    if message.get("function_call"):
        raise InvalidRequestError(
            f"{where}.function_call: is not taken there; send it as a tool call", param="messages"
        )
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise InvalidRequestError(f"{where}.tool_calls: must be a list", param="messages")
    return calls


def numbered(messages: Iterable[Any]) -> Iterable[tuple[str, Json]]:
    """Messages and where they stand. Raises `InvalidRequestError` for what is no object."""
    for at, message in enumerate(messages):
        if not isinstance(message, dict):
            raise InvalidRequestError(f"messages.{at}: must be an object", param="messages")
        yield f"messages.{at}", message
