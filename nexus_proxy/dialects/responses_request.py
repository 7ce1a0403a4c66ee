"""The OpenAI Responses dialect: requests as chat.

Nexus keeps no conversations, so what asks for one is refused: `store: true`,
`previous_response_id`, `conversation`, `background` and stored prompts. Single items of recent
answers may be referred to, see `responses_recent`; see `responses_input` and `responses_tools` for
what becomes of items and tools. Parameters:
- carried: `temperature`, `top_p`, `parallel_tool_calls`, `user`, `max_output_tokens`,
  `reasoning.effort`, `text.format`, `top_logprobs`, and whatever the API does not know
  (`top_k`, `seed` …);
- answered by Nexus itself: `include`, `store: false`, `metadata`, `truncation: disabled`,
  `stream_options`;
- left out with a note: `service_tier`, `text.verbosity`, `truncation: auto`, and what means nothing
  to a backend of chat: `client_metadata`, `prompt_cache_key` and its like, `safety_identifier`,
  `max_tool_calls` (it limits tools that OpenAI runs);
- honoured in the answer as far as it goes, with a note: `reasoning.summary` and encrypted
  reasoning, see `responses_stream`.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.responses_input import Conversation
from nexus_proxy.dialects.responses_tools import Tools
from nexus_proxy.errors import InvalidRequestError

_STORED = ("previous_response_id", "conversation", "background", "prompt")
_OPENAIS = (
    *("client_metadata", "max_tool_calls", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "safety_identifier"),
)
_HANDLED = frozenset(
    {
        *_STORED,
        *_OPENAIS,
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "metadata",
        "parallel_tool_calls",
        "reasoning",
        "service_tier",
        "store",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "truncation",
    }
)
ENCRYPTED = "reasoning.encrypted_content"
"""Asks for reasoning in a form that can be sent back."""
_LOGPROBS = "message.output_text.logprobs"


class Translation(Struct, frozen=True, kw_only=True):
    """A request as chat.

    Attributes:
        chat: the body for a backend of chat.
        notes: what could not be carried, as sentences without a full stop.
        tools: the names to put back into the answer.
        asked: the request itself, parts of which the answer repeats.
    """

    chat: Json
    notes: list[str]
    tools: Tools
    asked: Json


def to_chat(asked: Json) -> Translation:
    """The request as a body of chat. Raises `InvalidRequestError` for what cannot be honoured."""
    _refuse_stored(asked)
    tools = Tools()
    tools.add(_list(asked, "tools"))
    talk = Conversation(tools)
    talk.add_instructions(asked.get("instructions"))
    given = asked.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) and given else None
    for item in items or _list(asked, "input"):
        talk.add(item)
    talk.finish()
    notes = [*talk.notes]
    if tools.hosted:
        notes.append(f"left out tools that OpenAI runs itself: {', '.join(tools.hosted)}")
    chat = {key: value for key, value in asked.items() if key not in _HANDLED}
    chat["messages"] = talk.messages
    chat |= tools.choice(asked.get("tool_choice"))
    if "tools" in chat and asked.get("parallel_tool_calls") is not None:
        chat["parallel_tool_calls"] = asked["parallel_tool_calls"]
    if asked.get("max_output_tokens") is not None:
        chat["max_tokens"] = asked["max_output_tokens"]
    _carry_text(asked, chat, notes)
    _carry_reasoning(asked, chat, notes)
    _carry_logprobs(asked, chat)
    if left := [key for key in _OPENAIS if asked.get(key) is not None]:
        notes.append(f"left out what only OpenAI reads: {', '.join(left)}")
    if asked.get("service_tier") not in (None, "auto", "default"):
        notes.append("left out service_tier")
    if asked.get("truncation") == "auto":
        notes.append("left out truncation: a conversation that is too long is refused whole")
    return Translation(chat=chat, notes=notes, tools=tools, asked=asked)


def _refuse_stored(asked: Json) -> None:
    for key in _STORED:
        if asked.get(key):
            raise InvalidRequestError(
                f"{key} needs a server that keeps conversations, and Nexus keeps none: "
                "send every item of the conversation in input",
                param=key,
            )
    if asked.get("store"):
        raise InvalidRequestError(
            "store is true, and Nexus keeps no responses: leave it out, or send `store: false`",
            param="store",
        )


def _list(asked: Json, key: str) -> list[Any]:
    value = asked.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequestError(f"{key} is not of the form that the API has", param=key)
    return value


def _object(asked: Json, key: str) -> Json:
    value = asked.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{key} must be an object", param=key)
    return value


def _carry_text(asked: Json, chat: Json, notes: list[str]) -> None:
    text = _object(asked, "text")
    form = text.get("format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        schema = {key: value for key, value in form.items() if key != "type" and value is not None}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif isinstance(form, dict) and form.get("type") == "json_object":
        chat["response_format"] = {"type": "json_object"}
    elif form is not None and form != {"type": "text"}:
        raise InvalidRequestError("text.format is of no known type", param="text.format")
    if text.get("verbosity") is not None:
        notes.append("left out text.verbosity")


def _carry_reasoning(asked: Json, chat: Json, notes: list[str]) -> None:
    reasoning = _object(asked, "reasoning")
    if reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    if reasoning.get("summary") is not None:
        notes.append("reasoning.summary: the reasoning itself is told in its place")
    if ENCRYPTED in _list(asked, "include"):
        notes.append("reasoning is handed to the client to be sent back, but not encrypted")


def _carry_logprobs(asked: Json, chat: Json) -> None:
    top = asked.get("top_logprobs")
    if top or _LOGPROBS in _list(asked, "include"):
        chat["logprobs"] = True
        if top:
            chat["top_logprobs"] = top
