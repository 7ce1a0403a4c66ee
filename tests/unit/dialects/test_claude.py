"""Chat to Anthropic's Messages and back: nothing that both can carry is lost, however the stream is
cut; the rest is refused, or dropped with a note."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.claude import Claude
from nexus_proxy.dialects.claude_thinking import opaque, restored, without_unsigned
from nexus_proxy.dialects.sse import DONE, EventSplitter, payload
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import Capability, ModelInfo
from tests.support.scripted import claude as scripted
from tests.support.scripted.wire import encode
from tests.unit.dialects.chat_streams import TEXT
from tests.unit.dialects.tongues import ARGUMENTS, HELLO, LOOK, NAMED, SAID, aggregated, heard

CLAUDE = Claude()
ASKED = {"model": "claude"}
NEW, OLD = ModelInfo(id="claude-opus-4-8", max_output=64_000), ModelInfo(id="claude-sonnet-4-5")


def say(messages: list[Any] | None = None, model: ModelInfo = NEW, **more: Any) -> Json:
    return CLAUDE.say({"model": "m", "messages": messages or HELLO, **more}, model, None).body


def notes(model: ModelInfo = NEW, **more: Any) -> list[str]:
    said = CLAUDE.say({"model": "m", "messages": HELLO, **more}, model, None)
    return [note.partition(":")[0] for note in said.notes]


@st.composite
def answers(draw: st.DrawFn) -> scripted.Message:
    blocks: list[Json] = []
    for thought in draw(st.lists(TEXT, max_size=2)):
        blocks.append(scripted.thinking(thought))  # noqa: PERF401
    if draw(st.booleans()):
        blocks.append({"type": "redacted_thinking", "data": "ZW5j"})
    blocks += [scripted.text(said) for said in draw(st.lists(SAID, max_size=1))]
    for n, arguments in enumerate(draw(st.lists(ARGUMENTS, max_size=3))):
        blocks.append(scripted.tool_use(f"toolu_{n}", f"f{n}", a=1, b=arguments))
    return scripted.Message(content=blocks, stop="tool_use" if draw(st.booleans()) else "end_turn")


# -- answers ---------------------------------------------------------------------------------------


@given(answers())
@settings(max_examples=100)
def test_a_stream_says_what_the_whole_answer_says_and_goes_back_as_it_was(
    message: scripted.Message,
) -> None:
    stream = b"".join(map(scripted.framed, message.events(ASKED)))
    whole = json.loads(CLAUDE.whole(encode(message.whole(ASKED)), NAMED))
    events = heard(CLAUDE, stream)
    assert payload(events[-1]) == DONE
    streamed = aggregated(events)
    said, again = whole["choices"][0]["message"], streamed["choices"][0]["message"]
    calls = [
        [json.loads(call["function"].pop("arguments")) for call in m.get("tool_calls", ())]
        for m in (said, again)
    ]
    assert calls[0] == calls[1]
    assert {k: v for k, v in said.items() if v} == {k: v for k, v in again.items() if v}
    assert whole["usage"] == streamed["usage"]
    assert whole["choices"][0]["finish_reason"] == streamed["choices"][0]["finish_reason"]
    for call, arguments in zip(said.get("tool_calls", ()), calls[0], strict=True):
        call["function"]["arguments"] = json.dumps(arguments)
    turns = say([*HELLO, said])["messages"]
    back = turns[1]["content"] if len(turns) > 1 else []
    plain = [{k: v for k, v in block.items() if k != "citations"} for block in message.content]
    assert back == plain


def test_what_an_answer_cost_is_told_in_chats_way_of_counting() -> None:
    answer = json.loads(CLAUDE.whole(encode(scripted.Message().whole(ASKED)), NAMED))
    assert answer["usage"] == {
        "prompt_tokens": 127,
        "completion_tokens": 11,
        "total_tokens": 138,
        "prompt_tokens_details": {
            "cached_tokens": 100,
            "cache_write_tokens": 20,
            "cache_write_1h_tokens": 5,
        },
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert (answer["model"], answer["created"]) == ("m", 5)


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_why_an_answer_ended(stop: str, finish: str) -> None:
    message = scripted.Message(stop=stop)
    whole = json.loads(CLAUDE.whole(encode(message.whole(ASKED)), NAMED))
    streamed = aggregated(heard(CLAUDE, b"".join(map(scripted.framed, message.events(ASKED)))))
    assert whole["choices"][0]["finish_reason"] == finish
    assert streamed["choices"][0]["finish_reason"] == finish


def test_a_stream_that_breaks_off_has_no_end() -> None:
    events = list(map(scripted.framed, scripted.Message().events(ASKED)))
    told = b"".join(heard(CLAUDE, b"".join(events[:-1])))
    assert b"Hello" in told
    assert b'"stop"' not in told
    assert DONE not in told


def test_an_error_in_a_stream_and_pings() -> None:
    ear = CLAUDE.ear(NAMED)
    assert (ear.feed(scripted.framed(scripted.PING)), ear.beat) == (b"", True)
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    (event,) = EventSplitter().feed(ear.feed(scripted.framed(error)))
    told = json.loads(payload(event) or b"")["error"]
    assert (told["code"], told["message"], ear.beat) == (503, "Overloaded", False)
    assert ear.feed(b'event: new\ndata: {"type":"new_thing","x":[]}\n\n') == b""


def test_a_call_that_comes_whole_when_it_begins() -> None:
    """As some servers that speak Anthropic's dialect do it."""
    block = scripted.tool_use("toolu_1", "f", city="Rome")
    events: list[Json] = [
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_stop"},
    ]
    choice = aggregated(heard(CLAUDE, b"".join(map(scripted.framed, events))))["choices"][0]
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {
        "city": "Rome"
    }
    assert choice["finish_reason"] == "tool_calls"


# -- requests --------------------------------------------------------------------------------------


def test_a_conversation_with_all_that_there_is() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"x":1}'}}
    messages = [
        {"role": "system", "content": "Be kind"},
        {"role": "developer", "content": [{"type": "text", "text": "Be brief"}]},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "JVBE"}},
            ],
        },
        {"role": "assistant", "content": "", "tool_calls": [call, {**call, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "system", "content": "Hurry"},
        {"role": "user", "content": "Well?"},
    ]
    body = say(messages, tools=[LOOK], tool_choice="required", parallel_tool_calls=False)
    assert [block["text"] for block in body["system"]] == ["Be kind", "Be brief"]
    asked, answered, told = body["messages"]
    assert asked["content"] == [
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"},
        },
        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
            "title": "a.pdf",
        },
    ]
    assert [block["id"] for block in answered["content"]] == ["c1", "c2"]
    assert told["content"] == [
        {"type": "tool_result", "tool_use_id": "c1", "content": "one"},
        {"type": "tool_result", "tool_use_id": "c2"},
        {"type": "text", "text": "<system-reminder>\nHurry\n</system-reminder>"},
        {"type": "text", "text": "Well?"},
    ]
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert body["tools"][0]["input_schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("asked", "model", "room", "sent"),
    [
        ({"max_tokens": 50}, NEW, None, 50),
        ({"max_completion_tokens": 60, "max_tokens": 50}, NEW, 10, 60),
        ({"max_tokens": 100_000}, NEW, None, 64_000),
        ({}, NEW, None, 64_000),
        ({}, NEW, 900, 900),
        ({}, ModelInfo(id="claude-new"), None, 4096),
    ],
)
def test_how_long_an_answer_may_be(asked: Json, model: ModelInfo, room: Any, sent: int) -> None:
    said = CLAUDE.say({"model": "m", "messages": HELLO, **asked}, model, room)
    assert said.body["max_tokens"] == sent


def test_how_hard_a_model_thinks() -> None:
    assert say(reasoning_effort="minimal")["output_config"] == {"effort": "low"}
    assert say(reasoning_effort="xhigh")["thinking"] == {"type": "adaptive"}
    assert say(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    old = say(model=OLD, reasoning_effort="medium", max_tokens=4000)
    assert old["thinking"] == {"type": "enabled", "budget_tokens": 3000}
    assert "thinking" not in say(model=OLD, reasoning_effort="low", max_tokens=1000)
    assert "thinking" not in say(reasoning_effort="low", tools=[LOOK], tool_choice="required")
    dull = ModelInfo(id="claude-3-5-haiku", cannot=frozenset({Capability.THINKING}))
    assert notes(dull, reasoning_effort="low") == ["reasoning_effort"]
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": ""}}
    loop = [*HELLO, {"role": "assistant", "tool_calls": [call]}]
    loop.append({"role": "tool", "tool_call_id": "c", "content": "x"})
    assert "thinking" not in say(loop, OLD, reasoning_effort="high")
    loop[1] |= {
        "reasoning_content": "hm",
        "reasoning_opaque": opaque(scripted.thinking("hm")),
    }
    assert "thinking" in say(loop, OLD, reasoning_effort="high")


def test_which_models_take_a_temperature() -> None:
    assert say(model=OLD, temperature=1.5)["temperature"] == 1.0
    assert "top_p" not in say(model=OLD, temperature=0.5, top_p=0.9)
    assert say(model=OLD, top_p=0.9, top_k=5)["top_k"] == 5
    assert notes(NEW, temperature=0.5, top_k=3) == ["temperature", "top_k"]
    assert say(model=ModelInfo(id="kimi-k2"), temperature=0.2)["temperature"] == 0.2
    assert "temperature" not in say(model=OLD, temperature=0.5, reasoning_effort="high")


def test_the_form_of_an_answer() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    form = say(response_format=asked, reasoning_effort="low")["output_config"]
    assert form == {"format": {"type": "json_schema", "schema": schema}, "effort": "low"}
    assert "JSON object" in say(response_format={"type": "json_object"})["system"][0]["text"]


@pytest.mark.parametrize(
    "asked",
    [
        {"n": 2},
        {"logprobs": True},
        {"logit_bias": {"5": 1}},
        {"modalities": ["text", "audio"]},
        {"functions": [{"name": "f"}]},
    ],
)
def test_what_would_be_another_answer_is_refused(asked: Json) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        say(**asked)
    assert refused.value.param == next(iter(asked))


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f1"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "ftp://x"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"arguments": "{oops"}}]},
        {"role": "assistant", "tool_calls": [{"id": "c", "function": {"arguments": '"Paris"'}}]},
        {"role": "function", "name": "f", "content": "x"},
        "hi",
    ],
)
def test_what_cannot_be_said_is_refused(message: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"messages\.0"):
        say([message])


def test_what_is_dropped_is_noted_and_what_changes_nothing_is_not() -> None:
    asked: Json = {
        "seed": 1,
        "presence_penalty": 0.5,
        "stop": ["", "END"],
        "store": False,
        "user": "u",
    }
    assert notes(**asked, logit_bias={}, service_tier=None) == ["stop", "presence_penalty", "seed"]
    body = say(**asked)
    assert (body["stop_sequences"], body["metadata"]) == (["END"], {"user_id": "u"})
    picture = {"url": "data:image/png;base64,iVBO", "detail": "low"}
    said = [
        {"role": "user", "name": "Bo", "content": [{"type": "image_url", "image_url": picture}]}
    ]
    assert notes(messages=said) == ["messages", "messages"]
    assert say([{"role": "system", "content": "alone"}])["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "alone"}]}
    ]


def test_thinking_that_was_changed_on_its_way_is_left_out() -> None:
    line = opaque(scripted.thinking("one")) + opaque(scripted.thinking("two!"))
    assert [block["thinking"] for block in restored("onetwo!", line)] == ["one", "two!"]
    for text, lines in (("onetwo", line), (None, line), ("onetwo!", None), ("x", "{oops")):
        assert restored(text, lines) == []
    said = CLAUDE.say(
        {
            "model": "m",
            "messages": [*HELLO, {"role": "assistant", "content": "a", "reasoning_content": "b"}],
        },
        NEW,
        None,
    )
    assert said.notes[0].startswith("messages: earlier thinking")


def test_unsigned_thinking_of_other_backends_is_kept_from_anthropic() -> None:
    turns = [
        *HELLO,
        {"role": "assistant", "content": [scripted.thinking("a", ""), scripted.text("b")]},
        {"role": "assistant", "content": [scripted.thinking("c", "")]},
    ]
    body, noted = without_unsigned(json.dumps({"model": "m", "messages": turns}).encode())
    assert json.loads(body)["messages"] == [
        HELLO[0],
        {"role": "assistant", "content": [scripted.text("b")]},
    ]
    assert len(noted) == 1
    signed = b'{"messages": [{"role":"user","content":"\\"signature\\":\\"\\""}],  "x":1}'
    assert without_unsigned(signed) == (signed, ())


@pytest.mark.parametrize(
    ("status", "kind", "message", "told"),
    [
        (529, "overloaded_error", "Overloaded", (503, "overloaded_error")),
        (429, "rate_limit_error", "Slow down", (429, "rate_limit_error")),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 9 tokens > 5 maximum",
            (400, "context_length_exceeded"),
        ),
    ],
)
def test_errors_in_chats_words(status: int, kind: str, message: str, told: Any) -> None:
    body = json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()
    failed = CLAUDE.failure(status, body)
    error = json.loads(failed.body)["error"]
    assert (failed.status, error["code"], error["message"]) == (*told, message)
    assert json.loads(CLAUDE.failure(502, b"<html>").body)["error"]["type"] == "api_error"
