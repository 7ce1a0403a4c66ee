"""Chat to Ollama's own and back, against the dialect that Nexus speaks to Ollama's clients: what
both can carry comes through unchanged, however the stream is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.dialects.base import Asked, Json
from nexus_proxy.dialects.ollama import Ollama
from nexus_proxy.dialects.ollama_request import Route
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.dialects.openai import Endpoint, error_sentence
from nexus_proxy.dialects.openai_stream import Aggregator
from nexus_proxy.dialects.sse import DONE, EventSplitter, payload
from nexus_proxy.dialects.tongue import Named
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import ModelInfo
from tests.unit.dialects.chat_streams import TEXT, answers

TONGUE, NAMED, CLIENT = OllamaTongue(16384), Named(model="m", created=5), Ollama(Route.CHAT)
ASKED = Asked(id="r", model="m", created=5, prompt_tokens=0, kept=None)
MODEL = ModelInfo(id="m", max_context=32768)
HELLO: list[Json] = [{"role": "user", "content": "hi"}]
PICTURE = "iVBORw0KGgo="


def say(messages: list[Json] | None = None, **more: Any) -> Json:
    return TONGUE.say({"model": "m", "messages": messages or HELLO, **more}, MODEL, 100).body


def heard(*pieces: bytes) -> list[bytes]:
    ear = TONGUE.ear(NAMED)
    events = EventSplitter().feed(b"".join(ear.feed(piece) for piece in pieces))
    assert ear.pending == 0
    return events


def lines(chunks: list[Json]) -> bytes:
    """The stream of a real Ollama that says the same."""
    stream = CLIENT.stream(ASKED)
    said = [line for chunk in chunks for line in stream.feed(chunk)]
    return b"".join([*said, *stream.finish()])


def essence(answer: Json) -> Any:
    """What an answer says, without how it names its calls."""
    (choice,) = answer["choices"]
    message = choice["message"]
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in message.get("tool_calls", ())
    ]
    counts = (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"])
    thought = message.get("reasoning_content")
    return message.get("content") or "", thought, calls, choice["finish_reason"], counts


@given(answers())
@settings(max_examples=80)
def test_answers_come_back_as_they_were(answer: tuple[Json, list[Json]]) -> None:
    whole, chunks = answer
    told = json.dumps(CLIENT.from_chat(json.loads(json.dumps(whole)), ASKED)).encode()
    assert essence(json.loads(TONGUE.whole(told, NAMED))) == essence(whole)
    events = heard(lines(chunks))
    assert payload(events[-1]) == DONE
    aggregator = Aggregator(Endpoint.CHAT)
    for event in events:
        aggregator.add(event)
    assert essence(json.loads(aggregator.answer())) == essence(whole)


def test_a_stream_cut_at_any_byte_gives_the_same() -> None:
    stream = (
        '{"message":{"role":"assistant","content":"","thinking":"Grüße"},"done":false}\n'
        '{"message":{"role":"assistant","content":"ja 🙂"},"done":false}\n'
        '{"message":{"content":"","tool_calls":[{"function":{"name":"f","arguments":{}}}]}}\n'
        '{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":9}\n'
    ).encode()
    whole = heard(stream)
    assert b'"finish_reason":"tool_calls"' in whole[-3]
    for at in range(1, len(stream)):
        assert heard(stream[:at], stream[at:]) == whole
    assert heard(*(stream[n : n + 1] for n in range(len(stream)))) == whole


def test_an_error_in_a_stream_is_chats_and_nothing_is_told_as_finished() -> None:
    events = heard(b'{"message":{"content":"a"}}\n{"error":"out of memory"}\n')
    assert json.loads(payload(events[-1]) or b"")["error"]["message"] == "out of memory"
    assert not any(b'finish_reason":"' in event for event in events)
    failed = TONGUE.failure(400, b'{"error":"the prompt is longer than the context"}')
    assert error_sentence(failed.body) == "the prompt is longer than the context"


@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=4))
def test_requests_come_back_as_they_were(said: list[str]) -> None:
    messages: list[Json] = [{"role": "system", "content": said[0]}, *HELLO]
    for n, text in enumerate(said):
        function = {"name": f"f{n}", "arguments": json.dumps({"a": text})}
        call = {"id": f"id_{n}", "type": "function", "function": function}
        messages += [
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"id_{n}", "content": text},
        ]
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    messages.append({"role": "user", "content": [{"type": "text", "text": said[-1]}, image]})
    tool = {"type": "function", "function": {"name": "f0", "parameters": {}}}
    asked = {"tools": [tool], "temperature": 0.5, "stop": ["END"], "max_tokens": 7, "seed": 1}
    body = say(messages, stream=True, **asked)
    assert (body["options"]["num_ctx"], body["truncate"]) == (16384, False)
    back = CLIENT.to_chat(body).body
    for message in (*messages, *back["messages"]):
        for call in message.get("tool_calls", ()):
            call.pop("id")
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        message.pop("tool_call_id", None)
    assert back["messages"] == messages
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
