"""A chat request as one of Gemini's.

- System and developer messages before the first turn become `systemInstruction`; later ones become
  a `<system-reminder>` of the user. Turns of one side in a row are one turn.
- A tool's result names its function, which is looked up by the call's id; text that is no JSON
  object is its `result`. Calls go back with the signatures of the thoughts that led to them (see
  `gemini_signatures`).
- Pictures, speech and files go along as data, pictures also by address. Files by id are refused.
- `reasoning_effort`: a level for Gemini 3, a budget in tokens for those before it. Thoughts are
  asked for wherever a model is known to think; they are billed in any case.
- `response_format` is Google's own. `tool_choice` and allowed tools are its `ANY`, `AUTO` and
  `NONE`.
- `max_tokens` counts thoughts, as it does in chat; without it a model writes as long as it can.
- Refused: `logprobs`, `logit_bias`, spoken answers, and the functions of 2023: the answer would not
  be the one that was asked for.
- Everything else is dropped, with a note.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import msgspec

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
from nexus_proxy.dialects.gemini_signatures import UNKNOWN, Signatures
from nexus_proxy.dialects.openai import UNREADABLE
from nexus_proxy.dialects.tongue import Said
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import Capability, ModelInfo

_OLD = "gemini-[12].*"
"""Models that think by a budget, and do not insist on signatures."""
_LEVELS = {"minimal": "low", "low": "low", "medium": "medium"}
_BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192}
_BUDGET_AT_MOST = 24_576
_KINDS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
}
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_PLAIN = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "n": "candidateCount",
}
_REFUSED = {
    "logprobs": "probabilities are not carried over from Google",
    "logit_bias": "Google's models cannot be biased by token",
    "modalities": "spoken answers are not carried over from Google",
    "functions": "functions have no counterpart at Google; send them as tools",
}
_CONSUMED = (
    CHANGES_NOTHING
    | _PLAIN.keys()
    | {
        *("max_tokens", "max_completion_tokens", "stop", "tools", "tool_choice", "user"),
        *("response_format", "reasoning_effort", "safety_identifier"),
    }
)


def say(chat: Json, model: ModelInfo, signatures: Signatures) -> Said:
    """See `Tongue.say`."""
    refuse(chat, _REFUSED)
    talk = _Talk(signatures, insists=not fnmatchcase(model.id, _OLD))
    for where, message in numbered(listed(chat, "messages")):
        talk.add(message, where)
    config, notes = _config(chat, model)
    body: Json = {"contents": talk.contents, "generationConfig": config}
    if talk.system:
        body["systemInstruction"] = {"parts": talk.system}
    notes += _add_tools(chat, body)
    notes += [
        f"{key[:60]}: has no counterpart in Gemini's API"
        for key in sorted(chat.keys() - _CONSUMED)
        if chat[key] is not None and not (key == "parallel_tool_calls" and chat[key] is True)
    ]
    return Said(body=body, notes=[*talk.notes, *asides(chat), *notes])


def _config(chat: Json, model: ModelInfo) -> tuple[Json, list[str]]:
    config: Json = {new: chat[old] for old, new in _PLAIN.items() if chat.get(old) is not None}
    if (most := longest(chat)) is not None:
        config["maxOutputTokens"] = most
    words, notes = stops(chat)
    if words:
        config["stopSequences"] = words
    kind, schema = schema_of(chat)
    if kind in ("json_object", "json_schema"):
        config["responseMimeType"] = "application/json"
    if kind == "json_schema":
        config["responseJsonSchema"] = schema
    if thinking := _thinking(chat.get("reasoning_effort"), model):
        config["thinkingConfig"] = thinking
    return config, notes


def _thinking(effort: Any, model: ModelInfo) -> Json:
    thinking: Json = {}
    if Capability.THINKING in model.can:
        thinking["includeThoughts"] = effort != "none"
    if isinstance(effort, str) and fnmatchcase(model.id, _OLD):
        thinking["thinkingBudget"] = _BUDGETS.get(effort, _BUDGET_AT_MOST)
    elif isinstance(effort, str) and effort != "none":
        thinking["thinkingLevel"] = _LEVELS.get(effort, "high")
    elif effort == "none":
        thinking["thinkingLevel"] = "minimal"
    return thinking


def _add_tools(chat: Json, body: Json) -> list[str]:
    tools, notes = functions(chat)
    tools, mode, name = chosen(chat, tools)
    if not tools:
        return notes
    declared = []
    for tool in tools:
        function = tool["function"]
        said = {"name": function["name"]}
        if function.get("description"):
            said["description"] = function["description"]
        if function.get("parameters"):
            said["parametersJsonSchema"] = function["parameters"]
        declared.append(said)
    body["tools"] = [{"functionDeclarations": declared}]
    if mode is not None:
        calling: Json = {"mode": _MODES[mode]}
        if name is not None:
            calling["allowedFunctionNames"] = [name]
        body["toolConfig"] = {"functionCallingConfig": calling}
    return notes


class _Talk:
    """The turns of one conversation. `insists`: the model wants a signature with each first call
    of an answer."""

    def __init__(self, signatures: Signatures, *, insists: bool) -> None:
        self._signatures, self._insists = signatures, insists
        self._names: dict[str, str] = {}
        self.system: list[Json] = []
        self.contents: list[Json] = []
        self.notes: list[str] = []

    def add(self, message: Json, where: str) -> None:
        """One message. Raises `InvalidRequestError`."""
        content = message.get("content")
        match message.get("role"):
            case "system" | "developer":
                said = [text for text, _ in texts(content, where)]
                if self.contents:
                    reminders = (f"<system-reminder>\n{t}\n</system-reminder>" for t in said)
                    self._put("user", [{"text": text} for text in reminders])
                else:
                    self.system += [{"text": text} for text in said]
            case "user":
                self._put("user", _parts(content, where))
            case "assistant":
                self._answer(message, where)
            case "tool":
                self._put("user", [self._result(message, where)])
            case role:
                raise InvalidRequestError(
                    f"{where}.role: {str(role)[:40]!r} has no counterpart at Google",
                    param="messages",
                )

    def _answer(self, message: Json, where: str) -> None:
        said = message.get("content") or message.get("refusal")
        parts = [{"text": text} for text, _ in texts(said, where)]
        needs = self._insists
        for n, call in enumerate(calls_of(message, where)):
            name, told = arguments(call, f"{where}.tool_calls.{n}")
            self._names[str(call.get("id"))] = name
            part: Json = {"functionCall": {"id": call.get("id"), "name": name, "args": told}}
            if signature := self._signatures.of(call) or (UNKNOWN if needs else None):
                part["thoughtSignature"] = signature
            if signature == UNKNOWN:
                self.notes = ["messages: calls that Google had not signed were marked so"]
            needs = False
            parts.append(part)
        self._put("model", parts)

    def _result(self, message: Json, where: str) -> Json:
        id_ = str(message.get("tool_call_id"))
        if id_ not in self._names:
            raise InvalidRequestError(
                f"{where}: answers the call {id_[:60]!r}, which no message before it makes",
                param="messages",
            )
        said = "\n\n".join(text for text, _ in texts(message.get("content"), where))
        try:
            told = msgspec.json.decode(said, type=dict[str, Any])
        except UNREADABLE:
            told = {"result": said}
        return {"functionResponse": {"id": id_, "name": self._names[id_], "response": told}}

    def _put(self, role: str, parts: list[Json]) -> None:
        if not parts:
            return
        if self.contents and self.contents[-1]["role"] == role:
            self.contents[-1]["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})


def _parts(content: Any, where: str) -> list[Json]:
    if content is None or isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        raise InvalidRequestError(
            f"{where}.content: must be a string or a list of parts", param="messages"
        )
    return [_part(part, where) for part in content]


def _part(part: Any, where: str) -> Json:
    match part:
        case {"type": "text", "text": str(text)}:
            return {"text": text}
        case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
            return _picture(url, where)
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(form)}}:
            return _data(f"audio/{form}", data)
        case {"type": "file", "file": {"file_data": str(data)}}:
            read = DATA_URL.fullmatch(data)
            return _data("application/pdf", data) if read is None else _data(read[1], read[2])
    kind = part.get("type") if isinstance(part, dict) else None
    raise InvalidRequestError(
        f"{where}.content: Google cannot be sent a part of type {str(kind)[:40]!r}"
        + (" by its id" if kind == "file" else ""),
        param="messages",
    )


def _picture(url: str, where: str) -> Json:
    if (read := DATA_URL.fullmatch(url)) is not None:
        return _data(read[1], read[2])
    if not url.startswith(("https://", "http://", "gs://")):
        raise InvalidRequestError(
            f"{where}.content: a picture must be an https:// or a base64 data: URL",
            param="messages",
        )
    kind = _KINDS.get(url.partition("?")[0].rpartition(".")[2].lower())
    return {"fileData": {"fileUri": url, **({"mimeType": kind} if kind else {})}}


def _data(kind: str, data: str) -> Json:
    return {"inlineData": {"mimeType": kind, "data": data}}
