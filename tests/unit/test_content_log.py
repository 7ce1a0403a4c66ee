"""What content logging hears of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nexus_proxy.relay.content_log import MOST, ContentLog
from tests.contract.hot.test_native_responses import Response
from tests.support.scripted import claude
from tests.support.scripted.wire import encode

ASKED = b'[{"role":"user","content":"hi"}]'
ASKED_MODEL = {"model": "m"}
BODY = b'{"model":"m","messages":' + ASKED + b"}"


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def test_text_thoughts_and_calls_of_a_stream() -> None:
    heard = ContentLog()
    call = {"index": 0, "function": {"name": "run", "arguments": '{"x":1}'}}
    deltas = [{"reasoning_content": "Hm. "}, {"content": "Well: "}, {"tool_calls": [call]}]
    heard.events([event({"choices": [{"delta": delta}]}) for delta in deltas])
    heard.events([b": ping\n\n", b"data: [DONE]\n\n"])
    said = heard.said(BODY)
    assert (said.prompt, said.answer) == (ASKED.decode(), 'Hm. Well: run{"x":1}')
    heard.again()
    assert heard.said(BODY).answer == ""


@pytest.mark.parametrize(
    "answer", ["x", [1], {"choices": 5}, {"choices": [1]}, {"choices": [{"message": "x"}]}, None]
)
def test_what_has_another_shape_breaks_nothing(answer: Any) -> None:
    heard = ContentLog()
    heard.whole(json.dumps(answer).encode())
    heard.events([event(answer)])
    assert heard.said(BODY).answer == ""


def test_long_ones_are_cut() -> None:
    body = json.dumps({"model": "m", "messages": [{"content": "ä" * 9 * MOST + "end"}]}).encode()
    heard = ContentLog()
    for _ in range(9):
        heard.events([event({"choices": [{"text": "x" * MOST}]})])
    said = heard.said(body)
    assert (said.prompt[0], said.prompt[-6:], len(said.prompt)) == ("…", 'end"}]', MOST + 1)
    assert said.answer == "x" * MOST + "…"
    assert heard.said(b"no JSON").prompt == "no JSON"
    assert heard.said(b'{"input": "x"}').prompt == '"x"'


def answer_of(heard: ContentLog) -> str:
    return heard.said(BODY).answer


def test_messages_are_heard_whole_and_as_a_stream() -> None:
    blocks = [claude.thinking("hm"), claude.text("ja"), claude.tool_use("t", "look", at="door")]
    message = claude.Message(content=blocks)
    whole, stream = ContentLog(), ContentLog()
    whole.whole(encode(message.whole(ASKED_MODEL)))
    stream.events(list(map(claude.framed, message.events(ASKED_MODEL))))
    assert answer_of(whole) == "hmjalook{'at': 'door'}"
    assert answer_of(stream) == 'hmjalook{"at": "door"}'


def test_responses_are_heard_whole_and_as_a_stream() -> None:
    whole, stream = ContentLog(), ContentLog()
    whole.whole(encode(Response().whole(ASKED_MODEL)))
    stream.events(list(Response().events(ASKED_MODEL)))
    assert (answer_of(whole), answer_of(stream)) == ("Hi there", "Hi there")
