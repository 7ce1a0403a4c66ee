"""What content logging hears of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nexus_proxy.relay.heard import MOST, Heard

ASKED = b'[{"role":"user","content":"hi"}]'
BODY = b'{"model":"m","messages":' + ASKED + b"}"


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def test_text_thoughts_and_calls_of_a_stream() -> None:
    heard = Heard()
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
    heard = Heard()
    heard.whole(json.dumps(answer).encode())
    heard.events([event(answer)])
    assert heard.said(BODY).answer == ""


def test_long_ones_are_cut() -> None:
    body = json.dumps({"model": "m", "messages": [{"content": "ä" * 9 * MOST + "end"}]}).encode()
    heard = Heard()
    for _ in range(9):
        heard.events([event({"choices": [{"text": "x" * MOST}]})])
    said = heard.said(body)
    assert (said.prompt[0], said.prompt[-6:], len(said.prompt)) == ("…", 'end"}]', MOST + 1)
    assert said.answer == "x" * MOST + "…"
    assert heard.said(b"no JSON").prompt == "no JSON"
    assert heard.said(b'{"input": "x"}').prompt == '"x"'
