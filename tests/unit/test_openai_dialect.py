"""The OpenAI dialect: peeking, editing, reading chunks, putting an answer together."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.openai import Endpoint, peek
from nexus_proxy.dialects.openai_stream import Aggregator, read_answer, read_chunk
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import Capability

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


def chat(**fields: Any) -> bytes:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **fields}
    return json.dumps(body).encode()


def test_needs_are_read_off_the_request() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    seen = peek(
        Endpoint.CHAT,
        chat(
            messages=[{"role": "user", "content": [{"type": "text", "text": "what"}, image]}],
            tools=[{"type": "function", "function": {"name": "f"}}],
            response_format={"type": "json_schema", "json_schema": {}},
            max_completion_tokens=7,
            stream=True,
            stream_options={"include_usage": True},
        ),
    )
    assert seen.needs == {
        Capability.CHAT,
        Capability.VISION,
        Capability.TOOLS,
        Capability.JSON_SCHEMA,
    }
    assert (seen.stream, seen.wants_usage, seen.max_tokens) == (True, True, 7)


@pytest.mark.parametrize("empty", [[], None])
def test_empty_tools_need_no_tools(empty: Any) -> None:
    assert peek(Endpoint.CHAT, chat(tools=empty)).needs == {Capability.CHAT}


def test_images_do_not_count_as_prompt_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 50_000}}
    content = [{"type": "text", "text": "x" * 100}, image]
    assert peek(Endpoint.CHAT, chat(messages=[{"content": content}])).prompt_bytes < 200


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "empty"),
        (b'{"model":', "not valid JSON"),
        (b"[]", "object"),
        (b"\xff\xfe", "not valid JSON"),
        (b'{"messages":[]}', "names no model"),
        (b'{"model":"m"}', "messages is missing"),
        (b'{"model":"m","messages":[]}', "messages is empty"),
        (b'{"model":7,"messages":[{}]}', "$.model"),
    ],
)
def test_a_bad_body_is_refused_in_words(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says.replace("$", r"\$")):
        peek(Endpoint.CHAT, body)


@given(st.dictionaries(st.text(max_size=10), JSON), st.text(max_size=20))
def test_an_edit_changes_one_value_and_keeps_the_rest(fields: dict[str, Any], name: str) -> None:
    body = json.dumps(fields).encode()
    assert json.loads(openai.edit(body, {"model": name})) == {**fields, "model": name}


def test_an_edit_keeps_the_bytes_of_other_values() -> None:
    body = b'{"model":"a","x":1.0e2,"y":"\\u00e9","z": [1 , 2]}'
    edited = openai.edit(body, {"model": "b"})
    assert b"1.0e2" in edited
    assert b'"\\u00e9"' in edited
    assert b"[1 , 2]" in edited


def event(**chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def test_a_role_chunk_is_no_token_and_text_is_one() -> None:
    role = {"role": "assistant", "content": None}
    assert not read_chunk(event(choices=[{"delta": role}])).has_token
    assert not read_chunk(event(choices=[{"delta": {"content": "", "tool_calls": []}}])).has_token
    for delta in ({"content": "x"}, {"reasoning": "x"}, {"tool_calls": [{"index": 0}]}):
        assert read_chunk(event(choices=[{"delta": delta}])).has_token


def test_usage_is_read_from_usage_or_from_llamacpp_timings() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}
    seen = read_chunk(event(choices=[], usage=usage))
    assert seen.is_usage_only
    assert seen.usage is not None
    assert (seen.usage.prompt_tokens, seen.usage.completion_tokens) == (5, 7)
    timings = {"cache_n": 35, "prompt_n": 1, "predicted_n": 6}
    seen = read_chunk(event(choices=[{"delta": {}, "finish_reason": "stop"}], timings=timings))
    assert seen.usage is not None
    assert (seen.usage.prompt_tokens, seen.usage.completion_tokens) == (36, 6)
    assert not seen.is_usage_only
    assert seen.finish_reason == "stop"


@given(st.binary(max_size=100))
def test_no_event_crashes_the_reader(raw: bytes) -> None:
    read_chunk(b"data: " + raw + b"\n\n")
    read_answer(Endpoint.CHAT, raw)


def test_an_answer_without_choices_is_none() -> None:
    assert not read_answer(Endpoint.CHAT, b'{"error":"Unexpected endpoint"}').is_answer
    assert read_answer(Endpoint.CHAT, b'{"choices":[{"finish_reason":"stop"}]}').is_answer
    assert read_answer(Endpoint.EMBEDDINGS, b'{"data":[]}').is_answer


TEXT = st.text(max_size=8)


@given(st.lists(TEXT, min_size=1, max_size=6), st.lists(TEXT, max_size=4), st.integers(1, 3))
def test_chunks_add_up_to_the_answer(words: list[str], reasons: list[str], n: int) -> None:
    aggregator = Aggregator(Endpoint.CHAT)
    head = {"id": "c", "model": "m", "created": 1, "object": "chat.completion.chunk"}
    for index in range(n):
        aggregator.add(
            event(
                **head, choices=[{"index": index, "delta": {"role": "assistant", "content": None}}]
            )
        )
        for reason in reasons:
            delta = {"reasoning_content": reason}
            aggregator.add(event(**head, choices=[{"index": index, "delta": delta}]))
        for word in words:
            aggregator.add(event(**head, choices=[{"index": index, "delta": {"content": word}}]))
        last = {"index": index, "delta": {}, "finish_reason": "stop"}
        aggregator.add(event(**head, choices=[last]))
    aggregator.add(event(**head, choices=[], usage={"prompt_tokens": 1}, timings={"a": 2}))
    aggregator.add(b"data: [DONE]\n\n")
    answer = json.loads(aggregator.answer())
    assert answer["object"] == "chat.completion"
    assert (answer["usage"], answer["timings"]) == ({"prompt_tokens": 1}, {"a": 2})
    assert len(answer["choices"]) == n
    for choice in answer["choices"]:
        assert choice["message"]["content"] == "".join(words)
        assert choice["message"].get("reasoning_content", "") == "".join(reasons)
        assert choice["finish_reason"] == "stop"


def test_tool_calls_and_logprobs_add_up() -> None:
    aggregator = Aggregator(Endpoint.CHAT)

    def add(delta: dict[str, Any], **more: Any) -> None:
        aggregator.add(event(choices=[{"index": 0, "delta": delta, **more}]))

    add({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f"}}]})
    add({"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]})
    add({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]})
    add({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]})
    add({}, logprobs={"content": [{"token": "p"}]})
    add({}, logprobs={"content": [{"token": "q"}]}, finish_reason="tool_calls")
    choice = json.loads(aggregator.answer())["choices"][0]
    first, second = choice["message"]["tool_calls"]
    assert first["function"] == {"name": "f", "arguments": '{"x":1}'}
    assert (second["id"], second["function"]["arguments"]) == ("b", "{}")
    assert [t["token"] for t in choice["logprobs"]["content"]] == ["p", "q"]
    assert "index" not in first
