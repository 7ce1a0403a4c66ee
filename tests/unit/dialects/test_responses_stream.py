"""Answers of chat as the `openai` SDK reads them from the Responses API."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.responses_request import to_chat
from nexus_proxy.dialects.responses_stream import KEEP_ALIVE, FromChatStream, from_chat
from nexus_proxy.errors import UpstreamCutError
from tests.unit.dialects.chat_streams import (
    JSON,
    answers,
    call_piece,
    calls,
    chunk,
    usage_chunk,
)
from tests.unit.dialects.test_responses import PATCH, TEAM, WEATHER, asked

NAMED: Json = {"response_id": "resp_1", "created": 1_700_000_000, "model": "alias"}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def stream(**fields: Any) -> FromChatStream:
    return FromChatStream(to_chat(asked(**fields)), **NAMED)


def events(chunks: Iterable[Json], **fields: Any) -> list[Json]:
    """The events of a whole stream, each checked against the SDK's types."""
    machine = stream(**fields)
    raw = [event for one in chunks for event in machine.feed(one)] + machine.finish()
    decoded = []
    for event in raw:
        name, data, *rest = event.split(b"\n")
        assert rest == [b"", b""]
        told = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + told["type"].encode()
        EVENT.validate_python(told)
        decoded.append(told)
    assert [event["sequence_number"] for event in decoded] == list(range(len(decoded)))
    return decoded


def kinds(told: Iterable[Json]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told]


def test_the_order_of_events() -> None:
    told = events(
        [
            chunk({"role": "assistant", "content": None}),
            chunk({"reasoning_content": "Hm."}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            calls(call_piece(0, "{", id="c1", name="get_weather")),
            calls(call_piece(0, "}")),
            chunk(finish="tool_calls"),
            usage_chunk(),
        ],
        tools=[WEATHER],
    )
    part = ["content_part.done", "output_item.done"]
    assert kinds(told) == [
        "created",
        "in_progress",
        *["output_item.added", "content_part.added", "reasoning_text.delta"],
        *["reasoning_text.done", *part],
        *["output_item.added", "content_part.added", "output_text.delta", "output_text.delta"],
        *["output_text.done", *part],
        *["output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"],
        *["function_call_arguments.done", "output_item.done"],
        "completed",
    ]
    response = told[-1]["response"]
    assert response["model"] == "alias"
    assert [item["type"] for item in response["output"]] == [
        "reasoning",
        "message",
        "function_call",
    ]
    assert response["output"][2]["call_id"] == "c1"
    assert response["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 27,
    }


def test_reasoning_stands_for_its_summary_and_can_be_sent_back() -> None:
    """What the Vercel AI SDK and Codex show, and send back, of a model's thoughts."""
    fields: Json = {
        "reasoning": {"summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    pieces = [
        chunk({"reasoning_content": "Hm"}),
        chunk({"reasoning": "m."}),
        chunk({"content": "A"}),
    ]
    told = events([*pieces, chunk(finish="stop")], **fields)
    assert kinds(told)[2:9] == [
        *["output_item.added", "reasoning_summary_part.added"],
        *["reasoning_summary_text.delta", "reasoning_summary_text.delta"],
        *["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"],
    ]
    thought, said = told[-1]["response"]["output"]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hmm."}]
    back = to_chat(asked([{**thought, "summary": []}, said]))
    assert back.chat["messages"][0]["reasoning_content"] == "Hmm."
    foreign = to_chat(asked([{**thought, "summary": [], "encrypted_content": "gAAA"}, said]))
    assert foreign.notes == ["left out reasoning that only OpenAI can decrypt"]


def test_names_that_chat_does_not_have_are_put_back() -> None:
    pieces = [
        calls(call_piece(0, '{"input": "*** ', id="c1", name="apply_patch")),
        calls(call_piece(0, 'Begin"}')),
        calls(call_piece(1, "{}", id="c2", name="team__spawn")),
        chunk(finish="tool_calls"),
    ]
    told = events(pieces, tools=[PATCH, TEAM])
    patch, spawn = told[-1]["response"]["output"]
    assert (patch["type"], patch["name"], patch["input"]) == (
        "custom_tool_call",
        "apply_patch",
        "*** Begin",
    )
    assert (spawn["namespace"], spawn["name"]) == ("team", "spawn")
    assert "custom_tool_call_input.done" in kinds(told)


@pytest.mark.parametrize(
    "pieces",
    [
        [call_piece(None, '{"a":1}', id="a", name="f"), call_piece(None, "{}", id="b", name="g")],
        [call_piece(0, '{"a":1}', id="a", name="f"), call_piece(0, "{}", id="b", name="g")],
        [call_piece(None, '{"a":1}', name="f"), call_piece(None, "{}", name="g")],
        [
            call_piece(0, '{"a"', id="a", name="f"),
            call_piece(1, "{", id="b", name="g"),
            call_piece(0, ":1}", id="a"),
            call_piece(1, "}"),
        ],
    ],
    ids=["no index", "index 0 for all", "neither index nor id", "in turn"],
)
def test_calls_as_careless_servers_send_them(pieces: list[Json]) -> None:
    told = events([*map(calls, pieces), chunk(finish="stop")])
    output = told[-1]["response"]["output"]
    assert [(i["name"], i["arguments"]) for i in output] == [("f", '{"a":1}'), ("g", "{}")]
    assert len({i["call_id"] for i in output}) == len({i["id"] for i in output}) == 2


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_is_not_complete(finish: str, reason: str) -> None:
    told = events([chunk({"content": "He"}), chunk(finish=finish)])
    assert kinds(told)[-1] == "incomplete"
    assert told[-1]["response"]["incomplete_details"] == {"reason": reason}
    assert told[-1]["response"]["output"][0]["status"] == "incomplete"


def test_refusals_log_probabilities_and_sources() -> None:
    logprobs = {"content": [{"token": "a", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    source = {"title": "T", "url": "https://x", "start_index": 0, "end_index": 1}
    said = chunk({"content": "a"})
    said["choices"][0]["logprobs"] = logprobs
    cited = chunk({"annotations": [{"type": "url_citation", "url_citation": source}]})
    told = events([said, cited, chunk({"refusal": "No."}), chunk(finish="stop")])
    spoken, refused = told[-1]["response"]["output"]
    assert spoken["content"][0]["logprobs"][0]["token"] == "a"
    assert spoken["content"][0]["annotations"] == [{"type": "url_citation", **source}]
    assert refused["content"] == [{"type": "refusal", "refusal": "No."}]


@given(answers())
def test_a_stream_says_what_the_whole_answer_says(pair: tuple[Json, list[Json]]) -> None:
    answer, chunks = pair
    whole = from_chat(answer, to_chat(asked()), **NAMED)
    Response.model_validate(whole)
    told = events(chunks)
    assert told[-1]["response"] == whole
    assert [item["type"] for item in whole["output"]].count("function_call") == len(
        answer["choices"][0]["message"].get("tool_calls", ())
    )
    # What is shown by pieces is what is shown at the end.
    for index, item in enumerate(whole["output"]):
        own = [event for event in told if event.get("output_index") == index]
        deltas = "".join(event["delta"] for event in own if event["type"].endswith(".delta"))
        shown = item.get("arguments") or item["content"][0]["text"]
        assert deltas == shown
        assert own[-1]["item"] == item


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        (chunk({"content": "a" * 900}), calls(call_piece(0, "{12}" * 25, id="a", name="f"))),
        (chunk({"content": "a"}), chunk({"reasoning_content": "b"})),
        (calls(call_piece(0, "", id="a", name="f")), calls(call_piece(1, "", id="b", name="f"))),
    ],
)
def test_an_answer_has_its_limits(
    monkeypatch: pytest.MonkeyPatch, fits: Json, too_much: Json
) -> None:
    monkeypatch.setattr("nexus_proxy.dialects.chat_pieces.MOST_CHARACTERS", 2000)
    machine = stream()
    machine.feed(fits)
    with pytest.raises(ValueError, match="longer than 2000"):
        machine.feed(too_much)


@given(st.lists(st.fixed_dictionaries({}, optional={"choices": JSON, "usage": JSON}), max_size=4))
def test_what_is_no_chunk_is_a_value_error(chunks: list[Json]) -> None:
    machine = stream()
    for one in chunks:
        try:
            machine.feed(one)
        except ValueError:
            return


def through_sdk(*bodies: bytes) -> openai.OpenAI:
    """The SDK, fed with event streams."""
    left = list(bodies)

    def answer(_request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, content=left.pop(0))

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return openai.OpenAI(base_url="http://x/v1", api_key="k", http_client=client, max_retries=0)


def test_the_sdk_puts_a_stream_together() -> None:
    machine = stream(tools=[WEATHER])
    pieces = [chunk({"content": "Let me "}), chunk({"content": "look."})]
    pieces.append(calls(call_piece(0, '{"city":"Paris"}', id="c1", name="get_weather")))
    raw = [event for one in pieces for event in machine.feed(one)]
    raw.insert(4, KEEP_ALIVE)
    raw += [*machine.feed(chunk(finish="tool_calls")), *machine.feed(usage_chunk())]
    body = b"".join([*raw, *machine.finish()])
    with through_sdk(body) as sdk, sdk.responses.stream(model="m", input="hi") as events_:
        final = events_.get_final_response()
    assert final.output_text == "Let me look."
    assert final.output[1].type == "function_call"
    assert final.output[1].arguments == '{"city":"Paris"}'
    assert final.usage is not None
    assert final.usage.input_tokens_details.cached_tokens == 16


def test_the_sdk_raises_at_a_broken_stream() -> None:
    machine = stream()
    raw = machine.feed(chunk({"content": "Hel"}))
    raw += machine.error(UpstreamCutError("left closed the connection", backend="left"))
    with through_sdk(b"".join(raw)) as sdk:
        pieces = sdk.responses.create(model="m", input="hi", stream=True)
        with pytest.raises(openai.APIError, match="left closed the connection"):
            list(pieces)
