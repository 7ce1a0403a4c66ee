"""Conversations of chat put into each dialect and back, and answers as clients send them back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.dialects.anthropic import Messages
from nexus_proxy.dialects.base import Asked, Dialect, Json
from nexus_proxy.dialects.claude import Claude
from nexus_proxy.dialects.gemini import Gemini
from nexus_proxy.dialects.ollama import Ollama
from nexus_proxy.dialects.ollama_request import Route
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.dialects.responses import Responses
from nexus_proxy.state import ModelInfo
from tests.support.wording import from_gemini, in_responses
from tests.unit.dialects.chat_streams import TEXT, answers
from tests.unit.dialects.tongues import ARGUMENTS, SAID

MODEL = ModelInfo(id="m")
PICTURE: Json = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
SPEAKING: dict[str, Dialect] = {
    "messages": Messages(),
    "responses": Responses(),
    "ollama": Ollama(Route.CHAT),
}


def _spoken(chat: Json, tongue: Claude | OllamaTongue, dialect: Dialect) -> list[Json]:
    back: list[Json] = dialect.to_chat(tongue.say(chat, MODEL, None).body).body["messages"]
    return back


BACK: dict[str, Callable[[Json], list[Json]]] = {
    "messages": lambda chat: _spoken(chat, Claude(), SPEAKING["messages"]),
    "responses": lambda chat: SPEAKING["responses"].to_chat(in_responses(chat)).body["messages"],
    "ollama": lambda chat: _spoken(chat, OllamaTongue(4096), SPEAKING["ollama"]),
    "gemini": lambda chat: from_gemini(Gemini().say(chat, MODEL, None).body),
}
"""Through each dialect and back."""
FORGETS = {
    "messages": ("reasoning_content",),  # Anthropic takes back only what it signed
    "ollama": ("id", "tool_call_id"),
    "gemini": ("reasoning_content",),
}
"""What a dialect has no place for."""


@st.composite
def conversations(draw: st.DrawFn) -> list[Json]:
    """System, then turns: words or a picture, calls in parallel, their results, an answer."""
    messages: list[Json] = []
    if system := draw(st.none() | SAID):
        messages.append({"role": "system", "content": system})
    for n in range(draw(st.integers(1, 3))):
        said = draw(SAID)
        shown = [{"type": "text", "text": said}, PICTURE] if draw(st.booleans()) else said
        messages.append({"role": "user", "content": shown})
        if calls := draw(st.lists(ARGUMENTS, max_size=3)):
            answer: Json = {"role": "assistant", "content": draw(st.none() | SAID)}
            answer["tool_calls"] = [
                {
                    "id": f"c{n}_{m}",
                    "type": "function",
                    "function": {"name": f"f{m}", "arguments": json.dumps(told)},
                }
                for m, told in enumerate(calls)
            ]
            messages.append(_thought(draw, answer))
            messages += [
                {"role": "tool", "tool_call_id": call["id"], "content": draw(_RESULT)}
                for call in answer["tool_calls"]
            ]
        messages.append(_thought(draw, {"role": "assistant", "content": draw(SAID)}))
    return messages


_RESULT = SAID.filter(lambda said: "{" not in said)
"""Gemini is told objects as objects."""


def _thought(draw: st.DrawFn, message: Json) -> Json:
    return (
        {**message, "reasoning_content": thought}
        if (thought := draw(st.none() | TEXT))
        else message
    )


def plain(messages: list[Json], forgotten: tuple[str, ...]) -> list[Json]:
    """Without what a dialect has no place for, and arguments as what they say."""
    out = []
    for message in copy.deepcopy(messages):
        told: Json = {"content": None, **{k: v for k, v in message.items() if k not in forgotten}}
        told["content"] = told["content"] or None
        for call in told.get("tool_calls", ()):
            arguments = call["function"]["arguments"]
            if isinstance(arguments, str):
                call["function"]["arguments"] = json.loads(arguments)
            for key in forgotten:
                call.pop(key, None)
        out.append(told)
    return out


@pytest.mark.parametrize("name", BACK)
@given(messages=conversations())
@settings(max_examples=40)
def test_a_conversation_comes_back_as_it_was(name: str, messages: list[Json]) -> None:
    forgotten = FORGETS.get(name, ())
    back = BACK[name]({"model": "m", "messages": copy.deepcopy(messages)})
    assert plain(back, forgotten) == plain(messages, forgotten)


def _next_turn(name: str, told: Json) -> Any:
    """What a client sends after an answer: that as it was, with what its tools gave back."""
    if name == "messages":
        results = [
            {"type": "tool_result", "tool_use_id": block["id"], "content": "ok"}
            for block in told["content"]
            if block["type"] == "tool_use"
        ]
        more = [{"type": "text", "text": "next"}]
        answer = {"role": "assistant", "content": told["content"]}
        turns = [answer, {"role": "user", "content": [*results, *more]}]
        return {"messages": turns if told["content"] else turns[1:]}
    user = {"role": "user", "content": "next"}
    if name == "ollama":
        calls = told["message"].get("tool_calls", ())
        named = [
            {"role": "tool", "tool_name": c["function"]["name"], "content": "ok"} for c in calls
        ]
        return {"messages": [told["message"], *named, user]}
    outputs = [
        {"type": "function_call_output", "call_id": item["call_id"], "output": "ok"}
        for item in told["output"]
        if item["type"] == "function_call"
    ]
    return {"input": [*told["output"], *outputs, user]}


@pytest.mark.parametrize("name", SPEAKING)
@given(pair=answers())
@settings(max_examples=40)
def test_an_answer_comes_back_as_the_same_message(name: str, pair: tuple[Json, list[Json]]) -> None:
    """Thoughts, text and parallel calls with their ids, as a client without memory sends them."""
    dialect, (answer, _) = SPEAKING[name], pair
    told = dialect.from_chat(copy.deepcopy(answer), Asked("r", "m", 5, 0, None))
    again = dialect.to_chat({"model": "m", **_next_turn(name, told)})
    said = [message for message in again.body["messages"] if message["role"] == "assistant"]
    message = answer["choices"][0]["message"]
    if said or message["content"] or "tool_calls" in message:  # thoughts alone may be left out
        assert plain(said, ()) == plain([message], ())
    assert not again.notes
