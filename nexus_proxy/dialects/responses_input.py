"""The input items of the Responses API as messages of chat.

- System and developer messages at the beginning become one system message. Later ones become user
  messages inside `<system-reminder>`: the templates of many local models take a system message at
  the beginning only.
- Calls that follow each other become one assistant message, with the text and the reasoning before
  them. Calls and their outputs meet by `call_id`, which is kept as it is.
- Pictures and files in the output of a tool follow it in a user message, since the tool messages
  of chat hold text only.
- Records of tools that OpenAI ran itself, and reasoning that only OpenAI can decrypt, are left out
  with a note. References to items that are in no recent answer (`responses_recent`), and items of
  unknown kinds, are refused.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.openai import UNREADABLE
from nexus_proxy.dialects.responses_tools import Tools, chat_name, wrapped
from nexus_proxy.errors import InvalidRequestError

_HOSTED_RECORDS = frozenset(
    {
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "mcp_approval_response",
        "tool_search_call",
        "tool_search_output",
    }
)
_SEAL = "nexus."
_FOREIGN = "left out reasoning of other backends, which OpenAI refuses"
_INSTRUCTS = ("system", "developer")
_TEXT = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


class _Item(Struct):
    """What must be of one type wherever it comes."""

    type: str | None = None
    role: str | None = None
    name: str | None = None
    namespace: str | None = None
    call_id: str | None = None
    arguments: str | None = None
    encrypted_content: str | None = None
    tools: list[dict[str, Any]] | None = None


class Conversation:
    """Builds the messages of chat out of instructions and items.

    Attributes:
        notes: what was left out, as sentences.
    """

    def __init__(self, tools: Tools) -> None:
        self.messages: list[Json] = []
        self.notes: dict[str, None] = {}
        self._tools = tools
        self._reasoning: list[Reasoning] = []
        self._called: set[str] = set()
        self._from_tools: list[Json] = []

    def add_instructions(self, text: Any) -> None:
        """The `instructions` of the request, which come first."""
        if text is None or text == "":
            return
        if not isinstance(text, str):
            raise InvalidRequestError("instructions must be a string", param="instructions")
        self._instruct(text)

    def add(self, item: Any) -> None:
        """One item of the input. Raises `InvalidRequestError`."""
        if not isinstance(item, dict):
            raise InvalidRequestError("an item of input is no object", param="input")
        _check(item)
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind in ("function_call_output", "custom_tool_call_output"):
            self._add_output(item)
            return
        self._flush_tools()
        if kind == "message":
            self._add_message(item)
        elif kind in ("function_call", "custom_tool_call"):
            self._add_call(item)
        elif kind == "reasoning":
            self._add_reasoning(item)
        elif kind == "additional_tools":
            self._tools.add(item.get("tools") or ())
        elif kind in _HOSTED_RECORDS:
            self.notes[f"left out records of OpenAI's own tools ({kind})"] = None
        else:
            raise _unknown(kind)

    def finish(self) -> None:
        """The input is whole."""
        self._flush_tools()
        if not self.messages:
            raise InvalidRequestError("input is missing or empty", param="input")

    def _add_message(self, item: Json) -> None:
        role = item.get("role")
        if role in _INSTRUCTS:
            self._instruct(joined(_parts(item.get("content"))))
        elif role == "assistant":
            self._speak(joined(_parts(item.get("content"))))
        elif role == "user":
            self._reasoning.clear()
            self.messages.append({"role": "user", "content": _plain(_parts(item.get("content")))})
        else:
            raise InvalidRequestError(f"no such role: {str(role)[:40]!r}", param="input")

    def _instruct(self, text: str) -> None:
        if not self.messages:
            self.messages.append({"role": "system", "content": text})
        elif len(self.messages) == 1 and self.messages[0]["role"] == "system":
            self.messages[0]["content"] += f"\n\n{text}"
        else:
            reminder = f"<system-reminder>\n{text}\n</system-reminder>"
            self.messages.append({"role": "user", "content": reminder})
            self.notes["put later system messages among the user's"] = None

    def _speak(self, text: str) -> None:
        message = self._assistant(with_calls=False)
        message["content"] = (message["content"] or "") + text

    def _assistant(self, *, with_calls: bool) -> Json:
        """The assistant message that what comes next belongs to."""
        last = self.messages[-1] if self.messages else None
        is_open = last is not None and last["role"] == "assistant"
        if last is None or not is_open or ("tool_calls" in last and not with_calls):
            last = {"role": "assistant", "content": None}
            self.messages.append(last)
        if self._reasoning:
            # Signed thoughts are joined as they are: a signature counts their characters.
            opaque = "".join(one.opaque for one in self._reasoning)
            before = last.get("reasoning_content")
            texts = [*([before] if before else []), *(one.text for one in self._reasoning)]
            last["reasoning_content"] = ("" if opaque else "\n").join(texts)
            if opaque:
                last["reasoning_opaque"] = last.get("reasoning_opaque", "") + opaque
            self._reasoning.clear()
        return last

    def _add_call(self, item: Json) -> None:
        call_id = _call_id(item)
        self._called.add(call_id)
        is_custom = item["type"] == "custom_tool_call"
        arguments = wrapped(item.get("input")) if is_custom else item.get("arguments") or "{}"
        call = {
            "id": call_id,
            "type": "function",
            "function": {"name": chat_name(item), "arguments": arguments},
        }
        self._assistant(with_calls=True).setdefault("tool_calls", []).append(call)

    def _add_output(self, item: Json) -> None:
        call_id = _call_id(item)
        if call_id not in self._called:
            raise InvalidRequestError(
                f"input has the output of the call {call_id[:80]!r}, but not the call itself. "
                "Nexus keeps no conversations: send every item with each request",
                param="input",
            )
        parts = _parts(item.get("output"))
        self._from_tools += [part for part in parts if part["type"] != "text"]
        content = joined(parts)
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": content})

    def _flush_tools(self) -> None:
        if self._from_tools:
            self.messages.append({"role": "user", "content": self._from_tools})
            self._from_tools = []

    def _add_reasoning(self, item: Json) -> None:
        sealed_ = item.get("encrypted_content") or ""
        kept = unsealed(sealed_)
        if kept.opaque:
            self._reasoning.append(kept)
            return
        text = joined(_parts(item.get("content"))) or kept.text
        if text := text or joined(_parts(item.get("summary"))):
            self._reasoning.append(Reasoning(text))
        elif sealed_:
            self.notes["left out reasoning that only OpenAI can decrypt"] = None


def joined(parts: list[Json]) -> str:
    """The text of parts."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


class Reasoning(Struct, omit_defaults=True):
    """What was thought: the text, and what a provider must have back to believe it (chat's
    `reasoning_opaque`, see `claude_thinking`)."""

    text: str = ""
    opaque: str = ""


def sealed(reasoning: Reasoning) -> str:
    """Reasoning as `encrypted_content`, which clients send back as it is. It is not encrypted:
    they have it in the clear as well."""
    return _SEAL + b64encode(msgspec.json.encode(reasoning)).decode()


def unsealed(content: str) -> Reasoning:
    """What `sealed` made of it; nothing of what somebody else encrypted."""
    if not content.startswith(_SEAL):
        return Reasoning()
    try:
        return _decode_reasoning(b64decode(content.removeprefix(_SEAL), validate=True))
    except ValueError:
        return Reasoning()


_decode_reasoning = msgspec.json.Decoder(Reasoning).decode


def without_sealed(body: bytes) -> tuple[bytes, Sequence[str]]:
    """A request without the reasoning of other backends, and a note if there was some: OpenAI takes
    only what it encrypted or stored itself."""
    if b'"reasoning"' not in body:
        return body, ()
    try:
        decoded = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        return body, ()
    given = decoded.get("input")
    kept = [item for item in given if not _is_foreign(item)] if isinstance(given, list) else given
    if kept == given:
        return body, ()
    return msgspec.json.encode({**decoded, "input": kept}), (_FOREIGN,)


def _is_foreign(item: Any) -> bool:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    sealed_ = item.get("encrypted_content")
    return str(sealed_).startswith(_SEAL) if sealed_ else bool(item.get("content"))


def _plain(parts: list[Json]) -> Any:
    return parts[0]["text"] if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _check(item: Json) -> None:
    try:
        msgspec.convert(item, _Item)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            f"an item of input does not fit: {error}", param="input"
        ) from None


def _call_id(item: Json) -> str:
    call_id = item.get("call_id")
    if not isinstance(call_id, str) or not call_id:
        raise InvalidRequestError(f"a {item['type']} has no call_id", param="input")
    return call_id


def _parts(content: Any) -> list[Json]:
    """Content as parts of chat. Raises `InvalidRequestError` for what chat has no part for."""
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
        raise InvalidRequestError("content is neither a string nor a list of parts", param="input")
    return [_part(part) for part in content]


def _part(part: Json) -> Json:
    kind = part.get("type")
    if kind in _TEXT or kind == "refusal":
        text = part.get("refusal" if kind == "refusal" else "text")
        if not isinstance(text, str):
            raise InvalidRequestError(f"a part of type {kind} has no text", param="input")
        return {"type": "text", "text": text}
    if kind == "input_image":
        return _image(part)
    if kind == "input_file" and isinstance(part.get("file_data"), str):
        told = {key: part[key] for key in ("file_data", "filename") if part.get(key)}
        return {"type": "file", "file": told}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind == "input_file":
        raise InvalidRequestError(
            "a file is given by an id or a URL, which no backend here can read; "
            "send its content in file_data",
            param="input",
        )
    raise _unknown(kind)


def _image(part: Json) -> Json:
    url = part.get("image_url")
    if not isinstance(url, str) or not url:
        raise InvalidRequestError(
            "an image is given by the id of a file, which no backend here can read; "
            "send it in image_url",
            param="input",
        )
    detail = {"detail": part["detail"]} if part.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def _unknown(kind: Any) -> InvalidRequestError:
    if kind == "item_reference":
        return InvalidRequestError(
            "input refers to an item (item_reference) that Nexus does not have: it remembers those "
            "of recent answers only, in memory and for the same API key. Send the item itself; the "
            "Vercel AI SDK does so with providerOptions.openai.store = false",
            param="input",
        )
    return InvalidRequestError(
        f"{str(kind)[:60]!r} in input cannot be told to a backend that speaks chat only",
        param="input",
    )
