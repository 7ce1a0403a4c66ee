"""Messages to chat and back: nothing that both can carry is lost, however the stream is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.dialects.anthropic import Messages, error_object
from nexus_proxy.dialects.base import Asked
from nexus_proxy.dialects.sse import payload
from nexus_proxy.errors import InvalidRequestError, NexusError, UpstreamStatusError

MESSAGES = Messages()
ASKED = Asked("r1", "claude", 0, 5, {})
TEXT = st.text(min_size=1, max_size=12)
ARGUMENTS = st.dictionaries(TEXT, st.integers(-9, 9) | TEXT, max_size=3)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "text", "content", "source", "role", "name", "format"]), inner
        )
    ),
    max_leaves=8,
)


def told(events: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(payload(event) or b"") for event in events]


def assembled(events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The content and last delta, put together as an SDK does it; blocks must not overlap."""
    content: list[dict[str, Any]] = []
    arguments, is_open, last = "", False, {}
    assert [e["type"] for e in events].count("message_start") == 1
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    for event in events:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(content)
            is_open, arguments = True, ""
            content.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            assert is_open
            delta, block = event["delta"], content[-1]
            if delta["type"] == "input_json_delta":
                arguments += delta["partial_json"]
            else:
                key = delta["type"].removesuffix("_delta")
                assert key == block["type"]
                block[key] += delta[key]
        elif event["type"] == "content_block_stop":
            is_open = False
            if content[-1]["type"] == "tool_use":
                content[-1]["input"] = json.loads(arguments or "{}")
        elif event["type"] == "message_delta":
            assert not is_open
            last = event
    return content, last


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


@given(
    thought=TEXT | st.none(),
    said=TEXT | st.none(),
    calls=st.lists(ARGUMENTS, max_size=3),
    order=st.randoms(use_true_random=False),
    has_index=st.booleans(),
)
@settings(max_examples=150)
def test_a_stream_says_what_the_whole_answer_says(
    thought: str | None, said: str | None, calls: list[Any], order: Any, has_index: bool
) -> None:
    """Also where pieces of parallel calls come in turn, and where no index is told."""
    written = [json.dumps(call) for call in calls]
    chunks = [chunk({"role": "assistant", "content": ""}), chunk({"tool_calls": []})]
    chunks += [chunk({"reasoning_content": letter}) for letter in thought or ""]
    chunks += [chunk({"content": letter}) for letter in said or ""]
    names = [{"id": f"c{at}", "function": {"name": f"f{at}"}} for at in range(len(calls))]
    queues = [
        [{**names[at], "index": at}]
        + [{"index": at, "function": {"arguments": letter}} for letter in text]
        for at, text in enumerate(written)
    ]
    if has_index:
        pieces = [queue.pop(0) for queue in queues]
        while left := [queue for queue in queues if queue]:
            pieces.append(order.choice(left).pop(0))
    else:
        pieces = [{**piece, "index": None} for queue in queues for piece in queue]
    chunks += [chunk({"tool_calls": [piece]}) for piece in pieces]
    chunks.append(chunk({}, "stop"))
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    chunks.append({"choices": [], "usage": usage})

    stream = MESSAGES.stream(ASKED)
    events = [event for c in chunks for event in stream.feed(c)] + stream.finish()
    content, last = assembled(told(events))
    message = {
        "content": said,
        "reasoning_content": thought,
        "tool_calls": [
            {"id": f"c{at}", "function": {"name": f"f{at}", "arguments": text}}
            for at, text in enumerate(written)
        ],
    }
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    whole = MESSAGES.from_chat(answer, ASKED)
    assert content == whole["content"]
    assert last["usage"] == whole["usage"]
    assert (last["usage"]["input_tokens"], last["usage"]["cache_read_input_tokens"]) == (7, 2)
    assert last["delta"]["stop_reason"] == whole["stop_reason"]
    assert whole["stop_reason"] == ("tool_use" if calls else "end_turn")

    turn = {"role": "assistant", "content": whole["content"]}
    translated = MESSAGES.to_chat({"model": "m", "messages": [turn]})
    chat = translated.body
    assert not translated.notes
    if said or thought or calls:
        back = chat["messages"][0]
        assert (back["content"], back.get("reasoning_content")) == (said, thought)
        again = [json.loads(c["function"]["arguments"]) for c in back.get("tool_calls", [])]
        assert again == calls


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "system",
                "tools",
                "tool_choice",
                "metadata",
                "thinking",
                "output_config",
                "stop_sequences",
                "x",
            ]
        ),
        JSON,
    ),
    st.lists(st.dictionaries(st.sampled_from(["role", "content"]), JSON), min_size=1, max_size=2),
)
def test_any_nonsense_is_refused_in_words_or_translated(body: Any, turns: Any) -> None:
    try:
        chat = MESSAGES.to_chat({"model": "m", **body, "messages": turns}).body
    except InvalidRequestError:
        return
    json.dumps(chat)


def test_what_cannot_be_carried_is_refused_or_noted() -> None:
    def ask(**more: Any) -> Any:
        return {"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}

    search = {"type": "web_search_20250305", "name": "web_search"}
    assert "web_search" in MESSAGES.to_chat(ask(tools=[search])).notes[0]
    with pytest.raises(InvalidRequestError, match="web_search runs at Anthropic"):
        MESSAGES.to_chat(ask(tools=[search], tool_choice={"type": "tool", "name": "web_search"}))
    cached = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
    tool = {"name": "f", "input_schema": {}, "defer_loading": True}
    noted = MESSAGES.to_chat(ask(system=[cached, cached], tools=[tool], metadata={"x": 1})).notes
    assert [note.partition(":")[0] for note in noted] == [
        *("cache_control", "metadata", "tool.defer_loading"),
    ]
    file = {"type": "document", "source": {"type": "file", "file_id": "f"}}
    with pytest.raises(InvalidRequestError, match="document from file"):
        MESSAGES.to_chat(ask(messages=[{"role": "user", "content": [file]}]))


def test_a_refusal_is_told_as_one_and_what_the_cache_took_as_such() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 4},
    }
    message = {"role": "assistant", "content": None, "refusal": "No."}
    answer = {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
    whole = MESSAGES.from_chat(answer, ASKED)
    stream = MESSAGES.stream(ASKED)
    events = stream.feed(chunk({"refusal": "No."}))
    events += stream.feed({**chunk({}, "stop"), "usage": usage})
    content, last = assembled(told([*events, *stream.finish()]))
    assert content == whole["content"] == [{"type": "text", "text": "No."}]
    assert last["delta"]["stop_reason"] == whole["stop_reason"] == "refusal"
    counted = {
        "input_tokens": 2,
        "cache_creation_input_tokens": 4,
        "cache_read_input_tokens": 3,
        "output_tokens": 2,
    }
    assert last["usage"] == whole["usage"] == counted


def test_pictures_of_a_tool_follow_in_a_users_turn() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "seen"}, image],
    }
    turn = {"role": "user", "content": [result]}
    chat = MESSAGES.to_chat({"model": "m", "messages": [turn]}).body
    assert chat["messages"][0] == {"role": "tool", "tool_call_id": "t", "content": "seen"}
    url = chat["messages"][1]["content"][0]["image_url"]["url"]
    assert url == "data:image/png;base64,AA"


def test_a_prompt_that_is_too_long_is_told_in_the_words_clients_look_for() -> None:
    said = "request (5000 tokens) exceeds the available context size (4096 tokens)"
    body = json.dumps({"error": {"message": said, "code": "context_length_exceeded"}}).encode()
    error = UpstreamStatusError(said, backend="one", upstream_status=400, body=body)
    told = error_object(error, "r")["error"]
    assert told["message"] == "prompt is too long: 5000 tokens > 4096 maximum"
    assert told["type"] == "invalid_request_error"
    assert error_object(NexusError("x"), "r")["error"]["type"] == "api_error"
