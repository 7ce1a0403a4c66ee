"""Tools of the Responses API as functions of chat, and the names to put back in the answer.

Chat has functions only, in one flat list:
- a function of a namespace becomes `namespace__name`;
- a custom (freeform) tool becomes a function with one string, `input`; the grammar that its text
  must follow is put into the description, since chat cannot enforce it;
- tools that OpenAI itself runs (web search, code interpreter and the like) are left out with a
  note; a request that insists on one of them is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.errors import InvalidRequestError

_FREEFORM = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


class ToolName(Struct, frozen=True):
    """What the client calls a tool that chat knows by another name, or as another kind."""

    name: str
    namespace: str | None = None
    is_custom: bool = False


class Tools:
    """The tools of one request.

    Attributes:
        functions: in the form of chat.
        hosted: kinds of tools that were left out, since only OpenAI runs them.
    """

    def __init__(self) -> None:
        self.functions: list[Json] = []
        self.hosted: list[str] = []
        self._names: dict[str, ToolName] = {}

    def add(self, tools: Iterable[Any]) -> None:
        """Take in tools as the client lists them. Raises `InvalidRequestError`."""
        for tool in tools:
            if not isinstance(tool, dict):
                raise InvalidRequestError("an entry of tools is no object", param="tools")
            if tool.get("type") == "namespace":
                self._add_namespace(tool)
            else:
                self._add(tool, None)

    def own(self, chat_name: str) -> ToolName:
        """What the client calls the tool that chat calls `chat_name`."""
        return self._names.get(chat_name) or ToolName(chat_name)

    def choice(self, asked: Any) -> Json:
        """`tool_choice` and, where it narrows them, `tools`, in the form of chat; empty without
        any tool. Raises `InvalidRequestError` for a choice that cannot be honoured."""
        if isinstance(asked, dict) and asked.get("type") == "allowed_tools":
            allowed = {chat_name(tool) for tool in asked.get("tools") or () if _is_callable(tool)}
            kept = [f for f in self.functions if f["function"]["name"] in allowed]
            return _choice(asked.get("mode") or "auto", kept)
        if not isinstance(asked, dict):
            return _choice(asked, self.functions)
        name = chat_name(asked) if _is_callable(asked) else None
        if all(function["function"]["name"] != name for function in self.functions):
            kind = asked.get("name") or asked.get("type")
            raise InvalidRequestError(
                f"tool_choice insists on {str(kind)[:80]!r}, which is not among the functions of "
                "this request; tools that OpenAI runs itself do not exist here",
                param="tool_choice",
            )
        forced = {"type": "function", "function": {"name": name}}
        return {"tools": self.functions, "tool_choice": forced}

    def _add_namespace(self, tool: Json) -> None:
        nested = tool.get("tools")
        for entry in nested if isinstance(nested, list) else ():
            if isinstance(entry, dict):
                self._add(entry, _name_of(tool))

    def _add(self, tool: Json, namespace: str | None) -> None:
        if not _is_callable(tool):
            self.hosted.append(str(tool.get("type"))[:40])
            return
        is_custom = tool["type"] == "custom"
        name = _name_of(tool)
        told = flat(name, namespace)
        if is_custom or namespace is not None:
            self._names[told] = ToolName(name, namespace, is_custom)
        function = {"name": told, **(_custom(tool) if is_custom else _function(tool))}
        self.functions.append({"type": "function", "function": function})


def flat(name: str, namespace: str | None) -> str:
    """The one name under which chat knows a tool."""
    return f"{namespace}__{name}" if namespace else name


def chat_name(named: Mapping[str, Any]) -> str:
    """The same, of a tool, a choice or a call that names one."""
    namespace = named.get("namespace")
    return flat(_name_of(named), namespace if isinstance(namespace, str) else None)


def wrapped(text: Any) -> str:
    """The text for a custom tool, as arguments of the function that stands for it."""
    return msgspec.json.encode({"input": text if isinstance(text, str) else ""}).decode()


def unwrapped(arguments: str) -> str:
    """The text for a custom tool; arguments of another form are taken as they are."""
    try:
        decoded = msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        return arguments
    text = decoded.get("input") if isinstance(decoded, dict) else None
    return text if isinstance(text, str) else arguments


def _is_callable(tool: Any) -> bool:
    return isinstance(tool, dict) and tool.get("type") in ("function", "custom")


def _name_of(tool: Mapping[str, Any]) -> str:
    name = tool.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequestError("a tool has no name", param="tools")
    return name


def _choice(mode: Any, functions: Sequence[Json]) -> Json:
    if not functions:
        if mode == "required":
            raise InvalidRequestError(
                "tool_choice is `required`, but there is no function to choose",
                param="tool_choice",
            )
        return {}
    chosen: Json = {"tools": list(functions)}
    return chosen if mode is None else {**chosen, "tool_choice": mode}


def _function(tool: Json) -> Json:
    keys = ("description", "parameters", "strict")
    return {key: tool[key] for key in keys if tool.get(key) is not None}


def _custom(tool: Json) -> Json:
    described, form = str(tool.get("description") or ""), tool.get("format")
    if isinstance(form, dict) and form.get("type") == "grammar":
        rule = f"`input` must follow this {form.get('syntax')} grammar:\n{form.get('definition')}"
        described = f"{described}\n\n{rule}".lstrip()
    return {"description": described, "parameters": _FREEFORM}
