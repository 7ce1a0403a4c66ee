"""What the content log hears of answers that pass in a dialect of their own."""

from __future__ import annotations

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.relay.heard import Heard
from tests.contract.hot.test_native_responses import Response
from tests.support.scripted import claude
from tests.support.scripted.wire import encode

BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
ASKED = {"model": "m"}


def answer_in(heard: Heard) -> str:
    return heard.said(openai.peek(Endpoint.CHAT, BODY), BODY).answer


def test_messages_are_heard_whole_and_as_a_stream() -> None:
    blocks = [claude.thinking("hm"), claude.text("ja"), claude.tool_use("t", "look", at="door")]
    message = claude.Message(content=blocks)
    whole, stream = Heard(), Heard()
    whole.whole(encode(message.whole(ASKED)))
    stream.events(list(map(claude.framed, message.events(ASKED))))
    assert answer_in(whole) == "hmjalook{'at': 'door'}"
    assert answer_in(stream) == 'hmjalook{"at": "door"}'


def test_responses_are_heard_whole_and_as_a_stream() -> None:
    whole, stream = Heard(), Heard()
    whole.whole(encode(Response().whole(ASKED)))
    stream.events(list(Response().events(ASKED)))
    assert (answer_in(whole), answer_in(stream)) == ("Hi there", "Hi there")
