"""Messages of a chat as the turns of Anthropic's Messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.chat_request import DATA_URL, arguments, calls_of, numbered, texts
from nexus_proxy.dialects.claude_thinking import restored
from nexus_proxy.errors import InvalidRequestError

_PDF, _PLAIN = "application/pdf", "text/plain"


class Turns:
    """Built message by message. `drop` takes a note on what is left out.

    Attributes:
        system: blocks of the system prompt.
        goes_on_unsigned: the last answer called tools, and came without signed thinking.
    """

    def __init__(self, drop: Callable[[str], None]) -> None:
        self._drop = drop
        self._turns: list[Json] = []
        self.system: list[Json] = []
        self.goes_on_unsigned = False

    def add_all(self, messages: Iterable[Any]) -> None:
        """Take in a whole conversation. Raises `InvalidRequestError`."""
        for where, message in numbered(messages):
            self._add(message, where)

    def messages(self) -> list[Json]:
        """All turns. What was a system prompt alone is asked by the user: there must be a turn."""
        if not self._turns and self.system:
            blocks, self.system = self.system, []
            self._drop("messages: the system prompt, which stands alone, is asked by the user")
            return [{"role": "user", "content": blocks}]
        return self._turns

    def _add(self, message: Json, where: str) -> None:
        match message.get("role"):
            case "system" | "developer":
                texts = self._texts(message.get("content"), where)
                if self._turns:
                    self._remind(texts)
                else:
                    self.system += texts
            case "user":
                self._user(message, where)
            case "assistant":
                self._assistant(message, where)
            case "tool":
                self._result(message, where)
            case role:
                raise InvalidRequestError(
                    f"{where}.role: {str(role)[:40]!r} has no counterpart at Anthropic",
                    param="messages",
                )

    def _remind(self, texts: list[Json]) -> None:
        for block in texts:
            text = f"<system-reminder>\n{block['text']}\n</system-reminder>"
            self._put("user", [{**block, "text": text}])

    def _user(self, message: Json, where: str) -> None:
        blocks = _cached(self._blocks(message.get("content"), where), message)
        if not blocks:
            self._drop(f"{where}: an empty message was left out")
        self._put("user", blocks)

    def _assistant(self, message: Json, where: str) -> None:
        thought = message.get("reasoning_content") or message.get("reasoning")
        blocks = restored(thought, message.get("reasoning_opaque"))
        if thought and not blocks:
            self._drop("messages: earlier thinking without Anthropic's signature was left out")
        signed = bool(blocks)
        blocks += self._texts(message.get("content") or message.get("refusal"), where)
        calls = calls_of(message, where)
        self.goes_on_unsigned = bool(calls) and not signed
        blocks += [_call(call, f"{where}.tool_calls.{n}") for n, call in enumerate(calls)]
        self._put("assistant", _cached(blocks, message))

    def _result(self, message: Json, where: str) -> None:
        result: Json = {"type": "tool_result", "tool_use_id": message.get("tool_call_id")}
        if inner := self._blocks(message.get("content"), where):
            is_one = len(inner) == 1 and inner[0].keys() == {"type", "text"}
            result["content"] = inner[0]["text"] if is_one else inner
        self._put("user", _cached([result], message))

    def _put(self, role: str, blocks: list[Json]) -> None:
        if not blocks:
            return
        if self._turns and self._turns[-1]["role"] == role:
            self._turns[-1]["content"] += blocks
        else:
            self._turns.append({"role": role, "content": blocks})

    @staticmethod
    def _texts(content: Any, where: str) -> list[Json]:
        return [block for text, part in texts(content, where) for block in _text(text, part)]

    def _blocks(self, content: Any, where: str) -> list[Json]:
        if content is None or isinstance(content, str):
            return _text(content or "", {})
        if not isinstance(content, list):
            raise InvalidRequestError(
                f"{where}.content: must be a string or a list of parts", param="messages"
            )
        return [block for part in content for block in self._part(part, where)]

    def _part(self, part: Any, where: str) -> list[Json]:
        match part:
            case {"type": "text", "text": str(text)}:
                return _text(text, part)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                return _cached([{"type": "image", "source": _picture(url, where)}], part)
            case {"type": "file", "file": {"file_data": str(data), **more}}:
                return _cached([_document(data, more.get("filename"), where)], part)
        kind = part.get("type") if isinstance(part, dict) else None
        raise InvalidRequestError(
            f"{where}.content: Anthropic cannot be sent a part of type {str(kind)[:40]!r}"
            + (" by its id" if kind == "file" else ""),
            param="messages",
        )


def _text(text: str, part: Json) -> list[Json]:
    """A block of text; none for one that is blank, which Anthropic refuses."""
    return _cached([{"type": "text", "text": text}], part) if text.strip() else []


def _cached(blocks: list[Json], told: Json) -> list[Json]:
    """With the `cache_control` of what they were made of, on the last of them."""
    if blocks and isinstance(cache := told.get("cache_control"), dict):
        blocks[-1]["cache_control"] = cache
    return blocks


def _picture(url: str, where: str) -> Json:
    if (data := DATA_URL.fullmatch(url)) is not None:
        return {"type": "base64", "media_type": data[1], "data": data[2]}
    if url.startswith(("https://", "http://")):
        return {"type": "url", "url": url}
    raise InvalidRequestError(
        f"{where}.content: a picture must be an https:// or a base64 data: URL", param="messages"
    )


def _document(data: str, name: Any, where: str) -> Json:
    read = DATA_URL.fullmatch(data)
    kind, encoded = (_PDF, data) if read is None else (read[1], read[2])
    if kind == _PLAIN:
        from base64 import b64decode

        try:
            text = b64decode(encoded, validate=True).decode()
        except ValueError:
            raise InvalidRequestError(
                f"{where}.content: the file is no text in base64", param="messages"
            ) from None
        source = {"type": "text", "media_type": _PLAIN, "data": text}
    elif kind == _PDF:
        source = {"type": "base64", "media_type": _PDF, "data": encoded}
    else:
        raise InvalidRequestError(
            f"{where}.content: Anthropic takes PDF and plain text, not {kind}", param="messages"
        )
    return {"type": "document", "source": source, **({"title": name} if name else {})}


def _call(call: Any, where: str) -> Json:
    name, told = arguments(call, where)
    return {"type": "tool_use", "id": call.get("id"), "name": name, "input": told}
