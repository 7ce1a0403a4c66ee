"""Ollama's dialect as its own SDK speaks it."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects import ollama_models
from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.ollama import Ollama
from nexus_proxy.dialects.ollama_request import Route, error_body, to_openai
from nexus_proxy.dialects.ollama_stream import FromChatStream, from_chat, from_embeddings
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.errors import InvalidRequestError, UpstreamCutError
from nexus_proxy.state import Capability, ModelInfo
from tests.unit.dialects.chat_streams import (
    JSON,
    USAGE,
    answers,
    call_piece,
    calls,
    chunk,
    peek,
    usage_chunk,
)

HI: Json = {"role": "user", "content": "hi"}
TIMINGS: Json = {
    "cache_n": 4,
    "prompt_n": 1,
    "prompt_ms": 1.5,
    "predicted_n": 6,
    "predicted_ms": 2.5,
}
"""As llama.cpp tells them, instead of usage."""
WEATHER: Json = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}


def body(route: Route = Route.CHAT, **fields: Any) -> Json:
    if route is Route.CHAT:
        fields = {"messages": [HI], **fields}
    return to_openai(route, {"model": "m", **fields}).body


def test_options_and_what_is_left_out() -> None:
    options = {"num_predict": 5, "temperature": 0, "stop": ["x"], "top_k": 3, "num_ctx": 4096}
    told = to_openai(
        Route.CHAT,
        {"model": "m", "messages": [HI], "tools": [], "options": options, "keep_alive": "5m"},
    )
    assert told.body == {
        "model": "m",
        "stream": True,
        "messages": [HI],
        "max_tokens": 5,
        "temperature": 0,
        "stop": ["x"],
        "top_k": 3,
    }
    assert [note.split(":")[0] for note in told.notes] == [
        "left out keep_alive",
        "left out options that only Ollama has",
    ]
    assert "max_tokens" not in body(options={"num_predict": -1})
    asked = {"model": "m", "input": "x", "options": {"num_ctx": 5}, "task": "search"}
    noted = to_openai(Route.EMBED, asked).notes
    assert [note.split(":")[0] for note in noted] == [
        "left out what Ollama does not have",
        "left out options",
    ]


def test_a_tool_loop_without_ids() -> None:
    other = {"function": {"name": "get_time", "arguments": {}}}
    got = body(
        messages=[
            HI,
            {"role": "assistant", "content": "", "tool_calls": [WEATHER, other]},
            {"role": "tool", "tool_name": "get_time", "content": "noon"},
            {"role": "tool", "content": "sunny"},
        ]
    )["messages"]
    first, second = got[1]["tool_calls"]
    assert first["function"] == {"name": "get_weather", "arguments": '{"city":"Paris"}'}
    assert [m["tool_call_id"] for m in got[2:]] == [second["id"], first["id"]]
    assert first["id"] != second["id"]
    twice = {"role": "assistant", "content": "", "tool_calls": [WEATHER, WEATHER]}
    result = {"role": "tool", "tool_name": "get_weather", "content": "sunny"}
    got = body(messages=[HI, twice, result, result])["messages"]
    assert [m["tool_call_id"] for m in got[2:]] == [call["id"] for call in got[1]["tool_calls"]]
    with pytest.raises(InvalidRequestError, match="answers no call"):
        body(messages=[HI, {"role": "tool", "content": "sunny"}])


@pytest.mark.parametrize(
    ("image", "kind"),
    [("iVBORw0KGgoAAA", "image/png"), ("/9j/4AAQ", "image/jpeg"), ("UklGRgAA", "image/webp")],
)
def test_pictures(image: str, kind: str) -> None:
    (message,) = body(messages=[{**HI, "images": [image]}])["messages"]
    assert message["content"][1]["image_url"]["url"] == f"data:{kind};base64,{image}"
    calling = {"role": "assistant", "content": "", "tool_calls": [WEATHER, WEATHER]}
    results = [{"role": "tool", "content": "seen", "images": [image]}, {"role": "tool"}]
    for more in ([], [HI]):
        told = body(messages=[HI, calling, *results, *more])["messages"]
        assert [one["content"] for one in told[2:4]] == ["seen", ""]
        assert told[4] == {"role": "user", "content": message["content"][1:]}


def test_the_form_of_the_answer_and_thinking() -> None:
    schema = {"type": "object"}
    assert body(format=schema)["response_format"]["json_schema"]["schema"] == schema
    assert body(format="json")["response_format"] == {"type": "json_object"}
    assert body(think=False)["chat_template_kwargs"] == {"enable_thinking": False}
    assert body(think="high")["reasoning_effort"] == "high"
    assert body(stream=False)["stream"] is False


def test_generate() -> None:
    got = body(Route.GENERATE, prompt="Why?", system="Be brief.")
    assert got["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    ]
    plain = to_openai(Route.GENERATE, {"model": "m", "prompt": "def f(", "suffix": "return 1"})
    assert plain.endpoint is Endpoint.COMPLETIONS
    assert (plain.body["prompt"], plain.body["suffix"]) == ("def f(", "return 1")


@pytest.mark.parametrize(
    ("route", "fields", "param"),
    [
        (Route.CHAT, {"messages": []}, "messages"),
        (Route.GENERATE, {}, "prompt"),
        (Route.GENERATE, {"prompt": "x", "context": [1]}, "context"),
        (Route.GENERATE, {"prompt": "x", "template": "{{ .Prompt }}"}, "template"),
        (Route.CHAT, {"format": "yaml"}, "format"),
        (Route.CHAT, {"messages": [{**HI, "images": ["AAAA"]}]}, "images"),
    ],
)
def test_what_cannot_be_honoured_is_refused(route: Route, fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        body(route, **fields)
    assert caught.value.param == param


def test_peek_sees_through_the_dialect() -> None:
    image = {**HI, "images": ["iVBORw0KGgo="]}
    told = {"model": "m", "messages": [image], "options": {"num_predict": 3}}
    seen = peek(Ollama(Route.CHAT), told)
    assert seen.needs == {Capability.CHAT, Capability.VISION}
    assert (seen.model, seen.stream, seen.max_tokens) == ("m", True, 3)
    seen = peek(Ollama(Route.EMBED), {"model": "m", "input": ["a", "b"]})
    assert seen.needs == {Capability.EMBEDDINGS}
    assert not seen.stream
    with pytest.raises(InvalidRequestError, match="names no model"):
        peek(Ollama(Route.CHAT), {"messages": [{"role": "user", "content": "x"}]})


_KEYS = ["messages", "prompt", "format", "tools", "options", "think", "images", "system", "stream"]
_MESSAGE = st.dictionaries(
    st.sampled_from(["role", "content", "images", "tool_calls", "tool_name"]),
    JSON | st.just("tool") | st.just([WEATHER]),
)


@given(
    st.sampled_from(Route),
    st.dictionaries(st.sampled_from(_KEYS), JSON | st.lists(_MESSAGE, max_size=3)),
)
def test_nonsense_is_refused_and_breaks_nothing(route: Route, fields: Json) -> None:
    with suppress(InvalidRequestError):
        to_openai(route, {"model": "m", **fields})


# -- answers -----------------------------------------------------------------------------------


def lines(chunks: list[Json], route: Route = Route.CHAT) -> list[Json]:
    machine = FromChatStream(route, created=1_700_000_000, model="alias")
    raw = [line for one in chunks for line in machine.feed(one)] + machine.finish()
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in raw)
    return [json.loads(line) for line in raw]


def test_a_stream() -> None:
    told = lines(
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"reasoning_content": "Hm."}),
            chunk({"content": "Hello"}),
            calls(call_piece(0, '{"city":', id="c1", name="get_weather")),
            calls(call_piece(0, '"Paris"}')),
            chunk(finish="tool_calls"),
            usage_chunk(),
        ]
    )
    answers_ = [ollama.ChatResponse.model_validate(line) for line in told]
    assert [a.done for a in answers_] == [False, False, False, True]
    assert answers_[0].message.thinking == "Hm."
    assert answers_[1].message.content == "Hello"
    (call,) = answers_[2].message.tool_calls or ()
    assert call.function.arguments == {"city": "Paris"}
    last = answers_[-1]
    assert (last.model, last.done_reason, last.created_at) == (
        "alias",
        "stop",
        "2023-11-14T22:13:20Z",
    )
    assert (last.prompt_eval_count, last.eval_count) == (20, 7)


def test_generate_and_the_times_that_the_backend_tells() -> None:
    text = {"choices": [{"index": 0, "text": "Hi", "finish_reason": None}]}
    end = chunk(finish="length", timings=TIMINGS)
    first, last = (
        ollama.GenerateResponse.model_validate(line) for line in lines([text, end], Route.GENERATE)
    )
    assert (first.response, last.response, last.done_reason) == ("Hi", "", "length")
    assert (last.prompt_eval_duration, last.eval_duration) == (1_500_000, 2_500_000)
    assert last.total_duration == 4_000_000
    assert (last.prompt_eval_count, last.eval_count) == (5, 6)


@given(answers())
def test_a_stream_says_what_the_whole_answer_says(pair: tuple[Json, list[Json]]) -> None:
    answer, chunks = pair
    whole = from_chat(answer, Route.CHAT, created=1_700_000_000, model="alias")
    ollama.ChatResponse.model_validate(whole)
    told = lines(chunks)
    said = [line["message"] for line in told]
    message = whole["message"]
    assert "".join(m["content"] for m in said) == message["content"]
    assert "".join(m.get("thinking", "") for m in said) == message.get("thinking", "")
    assert [c for m in said for c in m.get("tool_calls", ())] == message.get("tool_calls", [])
    assert {**told[-1], "message": None} == {**whole, "message": None}


def test_arguments_that_are_no_object_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="malformed"):
        lines([calls(call_piece(0, "{no", id="c", name="f")), chunk(finish="tool_calls")])


def test_a_broken_stream_ends_with_an_error() -> None:
    machine = FromChatStream(Route.CHAT, created=0, model="m")
    error = UpstreamCutError("left closed the connection", backend="left")
    assert machine.error(error) == [b'{"error":"left closed the connection"}\n']
    assert error_body(error) == b'{"error":"left closed the connection"}'


def test_embeddings() -> None:
    answer = {
        "data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
        "usage": USAGE,
    }
    many = from_embeddings(answer, Route.EMBED, model="m")
    told = ollama.EmbedResponse.model_validate(many)
    assert (list(told.embeddings), told.prompt_eval_count) == ([[1.0], [2.0]], 20)
    one = from_embeddings(answer, Route.EMBEDDINGS, model="m")
    assert ollama.EmbeddingsResponse.model_validate(one).embedding == [1.0]
    assert body(Route.EMBEDDINGS, prompt="x")["input"] == "x"


# -- models ------------------------------------------------------------------------------------

QWEN = ModelInfo(
    id="qwen3:8b",
    context_length=8192,
    max_context=40960,
    can=frozenset({Capability.CHAT, Capability.COMPLETIONS, Capability.TOOLS}),
    loaded=True,
    parameters="8B",
    quantization="Q4_K_M",
    size_bytes=5_000,
)
UNKNOWN = ModelInfo(id="x", loaded=False)


def test_lists_as_the_sdk_reads_them() -> None:
    models = [("qwen3:8b", QWEN), ("x", UNKNOWN)]
    listed = ollama.ListResponse.model_validate(ollama_models.tags(models))
    assert [m.model for m in listed.models] == ["qwen3:8b", "x"]
    assert listed.models[0].details is not None
    assert listed.models[0].details.quantization_level == "Q4_K_M"
    loaded = ollama.ProcessResponse.model_validate(ollama_models.ps(models))
    assert [(m.model, m.context_length) for m in loaded.models] == [("qwen3:8b", 8192)]


def test_show_as_vs_code_reads_it() -> None:
    told = ollama_models.show("qwen3:8b", QWEN)
    shown = ollama.ShowResponse.model_validate(told)
    assert shown.capabilities == ["completion", "tools"]
    info = dict(shown.modelinfo or {})
    assert info["general.basename"] == "qwen3:8b"
    assert info[f"{info['general.architecture']}.context_length"] == 8192
    assert ollama_models.show("x", UNKNOWN)["capabilities"] == ["completion"]
