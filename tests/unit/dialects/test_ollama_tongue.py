"""Chat to Ollama's own and back, against the dialect that Nexus speaks to Ollama's clients: what
both can carry comes through unchanged, however the stream is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from nexus_proxy.dialects.base import Asked, Json
from nexus_proxy.dialects.ollama import Ollama
from nexus_proxy.dialects.ollama_request import Route
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.dialects.openai import error_sentence
from nexus_proxy.dialects.sse import DONE, payload
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import ModelInfo
from tests.unit.dialects.chat_streams import answers
from tests.unit.dialects.tongues import HELLO, NAMED, aggregated, essence, heard

TONGUE, CLIENT = OllamaTongue(16384), Ollama(Route.CHAT)
ASKED = Asked(id="r", model="m", created=5, prompt_tokens=0, kept=None)
MODEL = ModelInfo(id="m", max_context=32768)


def say(messages: list[Json] | None = None, **more: Any) -> Json:
    return TONGUE.say({"model": "m", "messages": messages or HELLO, **more}, MODEL, 100).body


def lines(chunks: list[Json]) -> bytes:
    """The stream of a real Ollama that says the same."""
    stream = CLIENT.stream(ASKED)
    said = [line for chunk in chunks for line in stream.feed(chunk)]
    return b"".join([*said, *stream.finish()])


@given(answers())
@settings(max_examples=80)
def test_answers_come_back_as_they_were(answer: tuple[Json, list[Json]]) -> None:
    whole, chunks = answer
    told = json.dumps(CLIENT.from_chat(json.loads(json.dumps(whole)), ASKED)).encode()
    assert essence(json.loads(TONGUE.whole(told, NAMED))) == essence(whole)
    events = heard(TONGUE, lines(chunks))
    assert payload(events[-1]) == DONE
    assert essence(aggregated(events)) == essence(whole)


def test_an_error_in_a_stream_is_chats_and_nothing_is_told_as_finished() -> None:
    events = heard(TONGUE, b'{"message":{"content":"a"}}\n{"error":"out of memory"}\n')
    assert json.loads(payload(events[-1]) or b"")["error"]["message"] == "out of memory"
    assert not any(b'finish_reason":"' in event for event in events)
    failed = TONGUE.failure(400, b'{"error":"the prompt is longer than the context"}')
    assert error_sentence(failed.body) == "the prompt is longer than the context"


def test_what_is_asked_for_comes_back_as_it_was() -> None:
    tool = {"type": "function", "function": {"name": "f0", "parameters": {}}}
    asked: Json = {"tools": [tool], "temperature": 0.5, "stop": ["END"], "max_tokens": 7, "seed": 1}
    body = say(stream=True, **asked)
    assert (body["options"]["num_ctx"], body["truncate"]) == (16384, False)
    back = CLIENT.to_chat(body).body
    assert {key: back[key] for key in asked} == asked


def test_an_answer_is_no_longer_than_what_is_left_of_the_context() -> None:
    assert say(max_tokens=32000)["options"]["num_predict"] == 100


def test_what_has_no_counterpart_is_noted_or_refused() -> None:
    forced = {"type": "function", "function": {"name": "f"}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    said = TONGUE.say(
        {
            "model": "m",
            "messages": HELLO,
            "tools": tools,
            "tool_choice": forced,
            "verbosity": "low",
        },
        MODEL,
        None,
    )
    assert [note.partition(":")[0] for note in said.notes] == ["tool_choice", "verbosity"]
    schema = {"type": "object"}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert say(response_format=form)["format"] == schema
    assert say(reasoning_effort="none")["think"] is False
    assert "tools" not in say(tools=tools, tool_choice="none")
    far = {"type": "image_url", "image_url": {"url": "https://example.test/a.png"}}
    for more in (
        {"n": 2},
        {"logit_bias": {"1": 1}},
        {"messages": [{"role": "user", "content": [far]}]},
    ):
        with pytest.raises(InvalidRequestError):
            TONGUE.say({"model": "m", "messages": HELLO, **more}, MODEL, None)
