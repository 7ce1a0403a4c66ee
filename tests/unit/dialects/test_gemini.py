"""Chat to Gemini's API and back: nothing that both can carry is lost, however the stream is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.gemini import Gemini
from nexus_proxy.dialects.gemini_signatures import MOST, UNKNOWN, Signatures, signed
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import Capability, ModelInfo
from tests.support.scripted import gemini as scripted
from tests.support.scripted.payloads import sse
from tests.support.scripted.wire import encode
from tests.unit.dialects.chat_streams import TEXT
from tests.unit.dialects.tongues import ARGUMENTS, HELLO, LOOK, NAMED, aggregated, heard

NEW = ModelInfo(id="gemini-3-pro", can=frozenset({Capability.THINKING}))
OLD = ModelInfo(id="gemini-2.5-flash")


def say(messages: list[Any] | None = None, model: ModelInfo = NEW, **more: Any) -> Json:
    chat = {"model": "m", "messages": messages or HELLO, **more}
    return Gemini().say(chat, model, None).body


@st.composite
def answers(draw: st.DrawFn) -> scripted.Generated:
    parts = [scripted.thought(said) for said in draw(st.lists(TEXT, max_size=1))]
    parts += [scripted.text(said) for said in draw(st.lists(TEXT, max_size=2))]
    for n, arguments in enumerate(draw(st.lists(ARGUMENTS, max_size=3))):
        signature = scripted.SIGNATURE if n == 0 else None
        parts.append(scripted.call(f"f{n}", signature, told=arguments))
    return scripted.Generated(parts=parts, finish=draw(st.sampled_from(["STOP", "MAX_TOKENS"])))


@given(answers())
@settings(max_examples=60)
def test_a_stream_says_what_the_whole_answer_says(answer: scripted.Generated) -> None:
    whole = json.loads(Gemini().whole(encode(answer.whole()), NAMED))
    streamed = aggregated(heard(Gemini(), b"".join(map(sse, answer.events()))))
    for told in (whole, streamed):
        message = told["choices"][0]["message"]
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        told["choices"][0].pop("logprobs", None)
        told["choices"][0]["message"] = {k: v for k, v in message.items() if v}
        told.pop("object")
    assert streamed == whole
    calls = [part["functionCall"]["args"] for part in answer.parts if "functionCall" in part]
    told = whole["choices"][0]["message"].get("tool_calls", [])
    assert [call["function"]["arguments"] for call in told] == calls


def test_what_an_answer_cost_is_told_in_chats_way_of_counting() -> None:
    whole = json.loads(Gemini().whole(encode(scripted.Generated().whole()), NAMED))
    assert whole["usage"] == {
        "prompt_tokens": 107,
        "completion_tokens": 11,
        "total_tokens": 118,
        "prompt_tokens_details": {"cached_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }


@pytest.mark.parametrize("keeps_extras", [True, False])
def test_a_tool_loop_keeps_its_signature_whatever_the_client_keeps(keeps_extras: bool) -> None:
    tongue = Gemini()
    parts = [scripted.call("look", scripted.SIGNATURE, at="door"), scripted.call("look")]
    stream = b"".join(map(sse, scripted.Generated(parts=parts).events()))
    message = aggregated(heard(tongue, stream))["choices"][0]["message"]
    assert message["tool_calls"][0]["extra_content"] == {
        "google": {"thought_signature": scripted.SIGNATURE}
    }
    if keeps_extras:
        tongue = Gemini()
    else:
        del message["tool_calls"][0]["extra_content"]
    ids = [call["id"] for call in message["tool_calls"]]
    messages = [
        *HELLO,
        message,
        {"role": "tool", "tool_call_id": ids[0], "content": '{"it":"opens"}'},
        {"role": "tool", "tool_call_id": ids[1], "content": "dark"},
    ]
    said = tongue.say({"model": "m", "messages": messages}, NEW, None)
    _, model, results = said.body["contents"]
    assert model["parts"] == [
        {
            "functionCall": {"id": ids[0], "name": "look", "args": {"at": "door"}},
            "thoughtSignature": scripted.SIGNATURE,
        },
        {"functionCall": {"id": ids[1], "name": "look", "args": {}}},
    ]
    assert [part["functionResponse"]["response"] for part in results["parts"]] == [
        {"it": "opens"},
        {"result": "dark"},
    ]
    assert said.notes == []


def test_calls_of_other_backends_are_marked_so() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = [*HELLO, {"role": "assistant", "tool_calls": [call, {**call, "id": "d"}]}]
    first, second = say(messages)["contents"][1]["parts"]
    assert (first["thoughtSignature"], "thoughtSignature" in second) == (UNKNOWN, False)
    assert "thoughtSignature" not in say(messages, OLD)["contents"][1]["parts"][0]


def test_signatures_are_remembered_for_a_while() -> None:
    known = Signatures()
    for number in range(MOST + 1):
        known.note(str(number), f"s{number}")
    assert (known.of({"id": "0"}), known.of({"id": "1"})) == (None, "s1")
    known.note("long", "x" * 100_000)
    assert known.of({"id": "long"}) is None
    assert known.of({"id": "1", **signed("own")}) == "own"


def test_a_conversation_with_all_that_there_is() -> None:
    messages = [
        {"role": "system", "content": "Be kind"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.JPG?x=1"}},
                {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}},
            ],
        },
        {"role": "assistant", "content": "A cat."},
        {"role": "developer", "content": "Hurry"},
        {"role": "user", "content": "Well?"},
    ]
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    body = say(
        messages,
        tools=[LOOK],
        tool_choice={"type": "function", "function": {"name": "look"}},
        max_completion_tokens=9,
        temperature=0.5,
        n=2,
        stop="END",
        response_format=form,
        reasoning_effort="medium",
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be kind"}]}
    asked, answered, told = body["contents"]
    assert asked["parts"] == [
        {"text": "What is this?"},
        {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
        {"fileData": {"fileUri": "https://x.test/a.JPG?x=1", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}},
    ]
    assert answered == {"role": "model", "parts": [{"text": "A cat."}]}
    assert told["parts"][0]["text"].startswith("<system-reminder>")
    assert body["generationConfig"] == {
        "temperature": 0.5,
        "candidateCount": 2,
        "maxOutputTokens": 9,
        "stopSequences": ["END"],
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "medium"},
    }
    declared = body["tools"][0]["functionDeclarations"]
    assert declared == [{"name": "look", "parametersJsonSchema": {"properties": {}}}]
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}
    }


@pytest.mark.parametrize(
    ("effort", "model", "thinking"),
    [
        ("low", OLD, {"thinkingBudget": 1024}),
        ("xhigh", OLD, {"thinkingBudget": 24_576}),
        ("none", OLD, {"thinkingBudget": 0}),
        ("minimal", NEW, {"includeThoughts": True, "thinkingLevel": "low"}),
        ("none", NEW, {"includeThoughts": False, "thinkingLevel": "minimal"}),
        (None, NEW, {"includeThoughts": True}),
        (None, OLD, None),
    ],
)
def test_how_hard_a_model_thinks(effort: Any, model: ModelInfo, thinking: Any) -> None:
    config = say(model=model, reasoning_effort=effort)["generationConfig"]
    assert config.get("thinkingConfig") == thinking


@pytest.mark.parametrize(
    ("messages", "more"),
    [
        (HELLO, {"logprobs": True}),
        (HELLO, {"logit_bias": {"1": 2}}),
        (HELLO, {"modalities": ["audio"]}),
        ([{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}], {}),
        ([{"role": "tool", "tool_call_id": "nobody", "content": "x"}], {}),
        ([{"role": "function", "content": "x"}], {}),
    ],
)
def test_what_cannot_be_carried_is_refused(messages: Any, more: Any) -> None:
    with pytest.raises(InvalidRequestError):
        say(messages, **more)


def test_what_is_dropped_is_noted() -> None:
    asked = {"model": "m", "messages": HELLO, "service_tier": "flex", "store": True, "seed": 3}
    said = Gemini().say({**asked, "parallel_tool_calls": False}, NEW, None)
    assert [note.partition(":")[0] for note in said.notes] == [
        "parallel_tool_calls",
        "service_tier",
    ]


@pytest.mark.parametrize(
    ("finish", "told"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("NEW", "stop")],
)
def test_why_an_answer_ended(finish: str, told: str) -> None:
    answer = scripted.Generated(finish=finish)
    whole = json.loads(Gemini().whole(encode(answer.whole()), NAMED))
    streamed = aggregated(heard(Gemini(), b"".join(map(sse, answer.events()))))
    assert whole["choices"][0]["finish_reason"] == told
    assert streamed["choices"][0]["finish_reason"] == told


def test_a_blocked_prompt_is_a_refusal_and_a_wrong_call_an_error() -> None:
    blocked = {"promptFeedback": {"blockReason": "SAFETY"}, "responseId": "r"}
    choice = json.loads(Gemini().whole(encode(blocked), NAMED))["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", None)
    assert "SAFETY" in choice["message"]["refusal"]
    assert aggregated(heard(Gemini(), sse(blocked)))["choices"][0]["message"]["refusal"]
    wrong = scripted.Generated(finish="MALFORMED_FUNCTION_CALL")
    with pytest.raises(ValueError, match="MALFORMED_FUNCTION_CALL"):
        Gemini().whole(encode(wrong.whole()), NAMED)
    assert b'"code":502' in heard(Gemini(), b"".join(map(sse, wrong.events())))[-1]
