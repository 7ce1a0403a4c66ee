"""Requests of the Responses API as chat."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.responses import Responses
from nexus_proxy.dialects.responses_request import to_chat
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import Capability
from tests.unit.dialects.chat_streams import JSON, TEXT, peek

PNG = "data:image/png;base64,iVBORw0KGgo="
WEATHER: Json = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": True,
}
PATCH: Json = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Edit files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: patch"},
}
TEAM: Json = {
    "type": "namespace",
    "name": "team",
    "description": "Helpers.",
    "tools": [{**WEATHER, "name": "spawn"}],
}


def asked(input_: Any = "hi", **fields: Any) -> Json:
    return {"model": "m", "input": input_, **fields}


def user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def chat(input_: Any = "hi", **fields: Any) -> Json:
    return to_chat(asked(input_, **fields)).chat


def test_a_string_and_instructions() -> None:
    got = chat("hi", instructions="Be brief.", max_output_tokens=9, temperature=0, top_k=3)
    assert got == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 9,
        "temperature": 0,
        "top_k": 3,
    }


def test_what_codex_sends_on_the_second_turn() -> None:
    """Developer items for a prompt, reasoning in the clear, a call and a freeform call."""
    request = asked(
        [
            {"type": "message", "role": "developer", "content": [_text("You are Codex.")]},
            {"type": "message", "role": "developer", "content": [_text("Sandboxed.")]},
            user("Fix it."),
            {
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Look first."}],
                "encrypted_content": None,
            },
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Looking."}],
            },
            {"type": "function_call", "call_id": "c1", "name": "shell", "arguments": '{"c":"ls"}'},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Go"},
            {"type": "function_call_output", "call_id": "c1", "output": "a.py"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "done"},
        ],
        tools=[{**WEATHER, "name": "shell"}, PATCH, TEAM, {"type": "web_search"}],
        tool_choice="auto",
        parallel_tool_calls=False,
        reasoning={"effort": "high", "summary": "auto"},
        store=False,
        stream=True,
        include=["reasoning.encrypted_content"],
        prompt_cache_key="k",
        client_metadata={"x": "y"},
        text={"verbosity": "low"},
    )
    told = to_chat(request)
    assert told.chat["messages"] == [
        {"role": "system", "content": "You are Codex.\n\nSandboxed."},
        {"role": "user", "content": "Fix it."},
        {
            "role": "assistant",
            "content": "Looking.",
            "reasoning_content": "Look first.",
            "tool_calls": [
                _call("c1", "shell", '{"c":"ls"}'),
                _call("c2", "apply_patch", '{"input":"*** Go"}'),
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "a.py"},
        {"role": "tool", "tool_call_id": "c2", "content": "done"},
    ]
    names = [tool["function"]["name"] for tool in told.chat["tools"]]
    assert names == ["shell", "apply_patch", "team__spawn"]
    assert "start: patch" in told.chat["tools"][1]["function"]["description"]
    assert told.tools.own("team__spawn").namespace == "team"
    assert told.chat["reasoning_effort"] == "high"
    assert told.chat["parallel_tool_calls"] is False
    assert not {"store", "include", "client_metadata", "text", "input"} & told.chat.keys()
    assert [note.split(":")[0] for note in told.notes] == [
        "left out tools that OpenAI runs itself",
        "left out text.verbosity",
        "reasoning.summary",
        "reasoning is handed to the client to be sent back, but not encrypted",
        "left out what only OpenAI reads",
    ]


def _text(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _call(id_: str, name: str, arguments: str) -> Json:
    return {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}


def test_pictures_files_and_what_a_tool_shows() -> None:
    image = {"type": "input_image", "image_url": PNG, "detail": "low"}
    file = {"type": "input_file", "file_data": "data:application/pdf;base64,AA", "filename": "a"}
    got = chat(
        [
            {"role": "user", "content": [_text("See"), image, file]},
            {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [_text("here"), image]},
        ]
    )
    picture = {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}}
    told = {"type": "file", "file": {"file_data": file["file_data"], "filename": "a"}}
    assert got["messages"][0]["content"] == [{"type": "text", "text": "See"}, picture, told]
    assert got["messages"][2:] == [
        {"role": "tool", "tool_call_id": "c", "content": "here"},
        {"role": "user", "content": [picture]},
    ]


def test_a_later_developer_message_is_a_reminder() -> None:
    told = to_chat(asked([user("a"), {"role": "developer", "content": "Stop."}]))
    assert told.chat["messages"][1]["role"] == "user"
    assert "Stop." in told.chat["messages"][1]["content"]
    assert told.notes == ["put later system messages among the user's"]


def test_the_form_of_the_answer() -> None:
    schema = {"name": "s", "schema": {"type": "object"}, "strict": True}
    got = chat(text={"format": {"type": "json_schema", **schema}})
    assert got["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {
        "type": "json_object"
    }
    assert "response_format" not in chat(text={"format": {"type": "text"}})
    assert chat(include=["message.output_text.logprobs"], top_logprobs=2)["top_logprobs"] == 2


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("required", "required"),
        ({"type": "function", "name": "get_weather"}, _call("", "get_weather", "")),
        ({"type": "custom", "name": "apply_patch"}, _call("", "apply_patch", "")),
        ({"type": "function", "namespace": "team", "name": "spawn"}, _call("", "team__spawn", "")),
    ],
)
def test_which_tool(choice: Any, expected: Any) -> None:
    got = chat(tools=[WEATHER, PATCH, TEAM], tool_choice=choice)["tool_choice"]
    if isinstance(expected, dict):
        assert got["function"]["name"] == expected["function"]["name"]
    else:
        assert got == expected


def test_allowed_tools_are_the_only_ones() -> None:
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [PATCH]}
    got = chat(tools=[WEATHER, PATCH], tool_choice=allowed)
    assert [tool["function"]["name"] for tool in got["tools"]] == ["apply_patch"]
    assert got["tool_choice"] == "required"


def test_hosted_tools_alone_leave_no_tools() -> None:
    assert (
        not {"tools", "tool_choice"}
        & chat(tools=[{"type": "web_search"}], tool_choice="auto").keys()
    )


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tools": [{"type": "web_search"}], "tool_choice": "required"}, "tool_choice"),
        ({"input_": [{"type": "item_reference", "id": "rs_1"}]}, "input"),
        ({"input_": [{"type": "compaction", "encrypted_content": "x"}]}, "input"),
        ({"input_": [{"type": "function_call_output", "call_id": "c", "output": ""}]}, "input"),
        ({"input_": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "i"),
        ({"input_": []}, "input"),
    ],
)
def test_what_cannot_be_honoured_is_refused(fields: Json, param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**fields)
    assert str(caught.value.param).startswith(param)


def test_empty_keys_of_a_stateful_client_are_no_harm() -> None:
    chat(previous_response_id=None, store=False, conversation=None, background=False)


def test_peek_sees_through_the_dialect() -> None:
    image = {"type": "input_image", "image_url": PNG}
    request = asked(
        [{"role": "user", "content": [_text("x" * 50), image]}],
        tools=[WEATHER],
        stream=True,
        max_output_tokens=5,
    )
    seen = peek(Responses(), request)
    assert seen.needs == {Capability.CHAT, Capability.TOOLS, Capability.VISION}
    assert (seen.model, seen.stream, seen.max_tokens) == ("m", True, 5)
    assert seen.prompt_bytes > 50


@given(
    turns=st.lists(
        st.tuples(TEXT, TEXT, st.lists(st.tuples(TEXT, st.booleans()), max_size=3)), min_size=1
    )
)
def test_every_call_keeps_its_output_and_every_word_its_place(
    turns: list[tuple[str, str, list[tuple[str, bool]]]],
) -> None:
    items: list[Json] = []
    expected: list[tuple[str, Any]] = []
    for n, (question, text, outputs) in enumerate(turns):
        items += [user(question), {"role": "assistant", "content": text}]
        expected += [("user", question), ("assistant", text)]
        ids = [f"c{n}.{k}" for k in range(len(outputs))]
        for id_, (_, custom) in zip(ids, outputs, strict=True):
            kind = {"type": "custom_tool_call", "input": text} if custom else _FUNCTION_CALL
            items.append({**kind, "call_id": id_, "name": "f"})
        for id_, (output, custom) in zip(ids, outputs, strict=True):
            kind = {"type": f"{'custom_tool' if custom else 'function'}_call_output"}
            items.append({**kind, "call_id": id_, "output": output})
            expected.append(("tool", (id_, output)))
    messages = chat(items)["messages"]
    assert [
        (m["role"], (m["tool_call_id"], m["content"]) if m["role"] == "tool" else m["content"])
        for m in messages
    ] == expected
    called = [call["id"] for m in messages for call in m.get("tool_calls", ())]
    assert called == [m["tool_call_id"] for m in messages if m["role"] == "tool"]


_FUNCTION_CALL: Json = {"type": "function_call", "arguments": "{}"}
_KINDS = ["message", "function_call", "function_call_output", "reasoning", "additional_tools"]
_KEYS = ["role", "content", "call_id", "name", "arguments", "output", "summary", "tools", "input"]


@given(
    st.dictionaries(
        st.sampled_from(["input", "instructions", "tools", "tool_choice", "text", "reasoning"]),
        JSON
        | st.lists(
            st.fixed_dictionaries(
                {"type": st.sampled_from(_KINDS) | JSON},
                optional=dict.fromkeys(_KEYS, JSON),
            )
        ),
    )
)
def test_nonsense_is_refused_and_breaks_nothing(fields: Json) -> None:
    with suppress(InvalidRequestError):
        to_chat({"model": "m", "input": "hi", **fields})
