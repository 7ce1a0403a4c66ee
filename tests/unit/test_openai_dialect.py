"""The OpenAI dialect: peeking, editing, reading chunks, putting an answer together."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects.openai import Endpoint, peek, upstream_error_body
from nexus_proxy.dialects.openai_embeddings import as_base64
from nexus_proxy.dialects.openai_stream import Aggregator, read_answer, read_chunk
from nexus_proxy.errors import InvalidRequestError, UpstreamStatusError
from nexus_proxy.state import Capability


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
    assert (seen.stream, seen.wants_usage) == (True, True)


@pytest.mark.parametrize("value", [-5, 1.5, 1e300, "10", 10**30, None, [1]])
def test_what_routing_does_not_need_is_left_for_the_backend_to_judge(value: Any) -> None:
    assert peek(Endpoint.CHAT, chat(max_tokens=value, temperature=value)).model == "m"


def test_embeddings_are_never_a_stream() -> None:
    body = b'{"model":"m","input":"x","stream":true,"encoding_format":"base64"}'
    seen = peek(Endpoint.EMBEDDINGS, body)
    assert (seen.stream, seen.wants_base64) == (False, True)


@pytest.mark.parametrize(
    ("fields", "choices"),
    [
        ({}, 1),
        ({"n": None}, 1),
        ({"n": 3}, 3),
        ({"n": 0}, 1),
        ({"n": "x"}, 1),
        ({"prompt": "x", "n": 2}, 2),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": ["a", "b"]}, 2),
        ({"prompt": [[1], [2], [3]], "n": 2}, 6),
        ({"prompt": []}, 1),
    ],
)
def test_the_number_of_answers_that_are_due(fields: dict[str, Any], choices: int) -> None:
    body = json.dumps({"model": "m", **fields}).encode()
    assert peek(Endpoint.COMPLETIONS, body).choices == choices


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
        (b'{"model":"m","messages":[{}],"x":' + b"[" * 100_000, "nested too deeply"),
        (b'{"model":"' + b"m" * 513 + b'","messages":[{}]}', "longer than 512"),
    ],
)
def test_a_bad_body_is_refused_in_words(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequestError, match=says.replace("$", r"\$")):
        peek(Endpoint.CHAT, body)


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


@pytest.mark.parametrize("strange", [[1], "n/a", {"prompt_n": "x"}, {"prompt_tokens": "x"}, 7])
def test_keys_that_mean_something_else_to_a_server_hide_nothing(strange: Any) -> None:
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}
    seen = read_chunk(event(choices=[choice], usage=strange, timings=strange))
    assert (seen.has_token, seen.finish_reason, seen.usage) == (True, "stop", None)
    whole = json.dumps({"choices": [{"finish_reason": "stop"}], "usage": strange}).encode()
    assert read_answer(Endpoint.CHAT, whole).is_answer


@given(st.binary(max_size=100))
def test_no_event_crashes_the_reader(raw: bytes) -> None:
    read_chunk(b"data: " + raw + b"\n\n")
    read_answer(Endpoint.CHAT, raw)


def test_an_answer_without_choices_is_none() -> None:
    assert not read_answer(Endpoint.CHAT, b'{"error":"Unexpected endpoint"}').is_answer
    assert read_answer(Endpoint.CHAT, b'{"choices":[{"finish_reason":"stop"}]}').is_answer
    assert read_answer(Endpoint.EMBEDDINGS, b'{"data":[]}').is_answer


def status_error(body: bytes, status: int = 429) -> UpstreamStatusError:
    return UpstreamStatusError("b answered", backend="b", upstream_status=status, body=body)


@pytest.mark.parametrize(
    ("body", "passed_on"),
    [
        (b' {"error":{"message":"no","code":7,"x":1}}', True),
        (b'{"error":"no"}', False),
        (b'{"error":{"code":7}}', False),
        (b"<html>", False),
        (b"[" * 100_000, False),
    ],
)
def test_an_error_body_is_passed_on_where_clients_can_read_it(body: bytes, passed_on: bool) -> None:
    answer = upstream_error_body(status_error(body))
    assert (answer == body) is passed_on
    assert isinstance(json.loads(answer)["error"]["message"], str)


def test_an_error_in_a_list_is_taken_out() -> None:
    body = b'[{"error": {"code": 429, "message": "quota", "status": "RESOURCE_EXHAUSTED"}}]'
    assert json.loads(upstream_error_body(status_error(body)))["error"]["message"] == "quota"


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


def test_completions_add_up_as_llamacpp_streams_them() -> None:
    """It begins the answer to a list of prompts with `null`."""
    aggregator = Aggregator(Endpoint.COMPLETIONS)
    aggregator.add(b"data: null\n\n")
    pieces = [(1, ")", None), (0, "Pa", None), (1, "", "stop"), (0, "ris", None), (0, "", "length")]
    for index, text, reason in pieces:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": reason}
        aggregator.add(event(choices=[choice]))
    choices = json.loads(aggregator.answer())["choices"]
    assert choices == [
        {"index": 0, "text": "Paris", "logprobs": None, "finish_reason": "length"},
        {"index": 1, "text": ")", "logprobs": None, "finish_reason": "stop"},
    ]


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


@pytest.mark.parametrize(
    "data",
    [
        b"{broken",
        b'"text"',
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[{"delta":"x"}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"index":"x"}]}}]}',
        b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":{}}}]}}]}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_chunk_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        Aggregator(Endpoint.CHAT).add(b"data: " + data + b"\n\n")


def unpacked(text: str) -> list[float]:
    return [number for (number,) in struct.iter_unpack("<f", base64.b64decode(text))]


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)), max_size=3))
def test_vectors_become_base64_and_the_rest_stays(vectors: list[list[float]]) -> None:
    items = [{"index": n, "embedding": v, "x": [1.50]} for n, v in enumerate(vectors)]
    body = json.dumps({"object": "list", "data": items, "usage": {"a": 1}}).encode()
    told = json.loads(as_base64(body))
    got = [unpacked(item.pop("embedding")) for item in told["data"]]
    assert got == vectors
    assert [item["x"] for item in told["data"]] == [[1.5]] * len(vectors)
    assert (told["object"], told["usage"]) == ("list", {"a": 1})


@pytest.mark.parametrize("body", [b'{"data":[{"embedding":"AAAA"}]}', b"x", b'{"data":[[]]}'])
def test_what_is_no_list_of_numbers_stays(body: bytes) -> None:
    assert as_base64(body) == body
