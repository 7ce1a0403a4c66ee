"""A chat request as one of Anthropic's Messages.

- System and developer messages before the first turn become `system`; later ones become a
  `<system-reminder>` of the user. Turns of one side in a row are one turn. Empty text is left out.
- Tool results open the turn that follows their calls. A call whose arguments are no JSON object is
  refused: the model would read something else than it once wrote.
- Pictures by data URL and by address, PDF and plain-text files by data URL. Audio, and files by id,
  are refused: an answer that had not seen them would be wrong.
- `max_tokens`, which Anthropic insists on: what was asked for, at most what the model can; else
  what the model can, at most what is left in its context; where that is not known, 4096.
- `reasoning_effort`: thinking that adapts, with that effort; for models up to 4.5 a budget. It is
  left out where a tool is forced and, with a budget, where the tool loop that goes on was begun
  without it. Earlier thinking comes back if it is signed (see `claude_thinking`), and is left out
  otherwise.
- `temperature` and `top_p` up to 1, not both, and only for models that take them: those of Claude
  since 4.7 take neither, and nobody takes them with thinking.
- `response_format`: a schema is Anthropic's own; plain JSON has no counterpart, and is asked for in
  the system prompt.
- `cache_control` in messages, parts and tools is Anthropic's own and goes along, as do `top_k` and
  `metadata.user_id` (chat: `user`, `safety_identifier`).
- Refused: `n` above 1, `logprobs`, `logit_bias`, spoken answers, and the functions of 2023: the
  answer would not be the one that was asked for.
- Everything else is dropped, with a note.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.chat_request import (
    CHANGES_NOTHING,
    asides,
    chosen,
    functions,
    listed,
    longest,
    refuse,
    schema_of,
    stops,
)
from nexus_proxy.dialects.claude_turns import Turns
from nexus_proxy.dialects.tongue import Said
from nexus_proxy.state import Capability, ModelInfo

DEFAULT_MAX_TOKENS = 4096
_CLAUDE = "claude-*"
_TAKES_SAMPLING = ("claude-2*", "claude-3*", "claude-*-4", "claude-*-4-[0-6]*")
_TAKES_BUDGET = ("claude-3-7*", "claude-*-4", "claude-*-4-[0-5]", "claude-*-4-[0-5]-*")
_TAKES_BUDGET_DATED = re.compile(r"claude-[a-z]+-4-20\d{6}")
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384}
_BUDGET_AT_LEAST, _BUDGET_AT_MOST = 1024, 32_000
_EFFORTS = {"minimal": "low"}
_JSON_ONLY = "Answer with one JSON object, and nothing before or after it."

_MODES = {"auto": "auto", "required": "any", "none": "none"}
_REFUSED = {
    "n": "Anthropic gives one answer to a request; ask several times",
    "logprobs": "Anthropic tells no probabilities",
    "logit_bias": "Anthropic's models cannot be biased by token",
    "modalities": "Anthropic's models do not speak",
    "functions": "functions have no counterpart at Anthropic; send them as tools",
}
_CONSUMED = CHANGES_NOTHING | {
    *("max_tokens", "max_completion_tokens", "stop", "temperature", "top_p", "top_k", "tools"),
    *("tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "user"),
    "safety_identifier",
}


def say(chat: Json, model: ModelInfo, room: int | None) -> Said:
    """See `Tongue.say`."""
    request = _Request(chat, model, room)
    return Said(body=request.body(), notes=request.notes)


class _Request:
    """One request on its way to Anthropic."""

    def __init__(self, chat: Json, model: ModelInfo, room: int | None) -> None:
        self._chat, self._model, self._room = chat, model, room
        self.notes = asides(chat, has_strict=True)

    def body(self) -> Json:
        chat = self._chat
        refuse(chat, _REFUSED)
        turns = Turns(self._drop)
        turns.add_all(listed(chat, "messages"))
        body: Json = {
            "model": chat["model"],
            "max_tokens": self._max_tokens(),
            "messages": turns.messages(),
        }
        if chat.get("stream"):
            body["stream"] = True
        self._form(body, turns.system)
        if turns.system:
            body["system"] = turns.system
        if isinstance(chat.get("top_k"), int):
            body["top_k"] = chat["top_k"]
        if user := chat.get("safety_identifier") or chat.get("user"):
            body["metadata"] = {"user_id": user}
        self._stops(body)
        self._tools(body)
        self._thinking(body, is_unsigned=turns.goes_on_unsigned)
        self._sampling(body)
        for key in sorted(chat.keys() - _CONSUMED):
            if chat[key] is not None:
                self._drop(f"{key[:60]}: has no counterpart in Anthropic's Messages")
        return body

    def _drop(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def _max_tokens(self) -> int:
        asked, most = longest(self._chat), self._model.max_output
        if asked is not None:
            if most is not None and asked > most:
                self._drop(f"max_tokens: cut down to the {most} that this model can")
                return most
            return asked
        most = most or DEFAULT_MAX_TOKENS
        return most if self._room is None else max(1, min(most, self._room))

    def _stops(self, body: Json) -> None:
        telling, notes = stops(self._chat)
        self.notes += notes
        if telling:
            body["stop_sequences"] = telling

    def _form(self, body: Json, system: list[Json]) -> None:
        kind, schema = schema_of(self._chat)
        if kind == "json_schema":
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        elif kind == "json_object":
            system.append({"type": "text", "text": _JSON_ONLY})
            self._drop("response_format: plain JSON is asked for in the system prompt")

    def _tools(self, body: Json) -> None:
        tools, notes = functions(self._chat)
        tools, mode, name = chosen(self._chat, tools)
        for note in notes:
            self._drop(note)
        if not tools:
            return
        body["tools"] = [_tool(tool, tool["function"]) for tool in tools]
        told: Json = {"type": "tool", "name": name} if name else {"type": _MODES[mode or "auto"]}
        if self._chat.get("parallel_tool_calls") is False and mode != "none":
            told["disable_parallel_tool_use"] = True
        if mode is not None or len(told) > 1:
            body["tool_choice"] = told

    def _thinking(self, body: Json, *, is_unsigned: bool) -> None:
        effort = self._chat.get("reasoning_effort")
        if not isinstance(effort, str):
            return
        if effort == "none":
            body["thinking"] = {"type": "disabled"}
        elif Capability.THINKING in self._model.cannot:
            self._drop("reasoning_effort: this model does not think")
        elif body.get("tool_choice", {}).get("type") in ("any", "tool"):
            self._drop("reasoning_effort: left out, since a forced tool allows no thinking")
        elif is_unsigned and self._takes_budget():
            self._drop(
                "reasoning_effort: left out, since the calls that are answered now came without "
                "signed thinking"
            )
        elif self._takes_budget():
            self._budget(body, effort)
        else:
            body["thinking"] = {"type": "adaptive"}
            output = body.setdefault("output_config", {})
            output["effort"] = _EFFORTS.get(effort, effort)

    def _budget(self, body: Json, effort: str) -> None:
        budget = min(_BUDGETS.get(effort, _BUDGET_AT_MOST), body["max_tokens"] * 3 // 4)
        if budget < _BUDGET_AT_LEAST:
            self._drop("reasoning_effort: left out, since max_tokens leaves no room for thinking")
            return
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}

    def _takes_budget(self) -> bool:
        name = self._model.id
        return _is_one_of(name, _TAKES_BUDGET) or bool(_TAKES_BUDGET_DATED.match(name))

    def _sampling(self, body: Json) -> None:
        asked = {
            key: float(value)
            for key in ("temperature", "top_p")
            if isinstance(value := self._chat.get(key), int | float)
        }
        thinks = body.get("thinking", {}).get("type") in ("enabled", "adaptive")
        name = self._model.id
        if thinks or (fnmatchcase(name, _CLAUDE) and not _is_one_of(name, _TAKES_SAMPLING)):
            for key in (*asked, *(["top_k"] if body.pop("top_k", None) is not None else [])):
                what = "with thinking" if thinks else "by this model"
                self._drop(f"{key}: left out, as it is not taken {what}")
            return
        if len(asked) == 2:
            del asked["top_p"]
            self._drop("top_p: left out, as Anthropic takes either it or a temperature")
        for key, value in asked.items():
            if value > 1:
                self._drop(f"{key}: cut down to 1, the most that Anthropic takes")
            body[key] = min(value, 1.0)


def _tool(tool: Json, function: Json) -> Json:
    schema = function.get("parameters")
    schema = schema if isinstance(schema, dict) else {}
    said: Json = {
        "name": function["name"],
        "input_schema": {"type": "object", **schema} if schema else _NO_ARGUMENTS,
    }
    if function.get("description"):
        said["description"] = function["description"]
    if function.get("strict"):
        said["strict"] = True
    if cache := tool.get("cache_control") or function.get("cache_control"):
        said["cache_control"] = cache
    return said


_NO_ARGUMENTS: Json = {"type": "object", "properties": {}}


def _is_one_of(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
