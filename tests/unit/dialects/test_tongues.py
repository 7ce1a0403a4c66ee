"""What holds for every dialect that a backend is spoken to in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nexus_proxy.dialects.claude import Claude
from nexus_proxy.dialects.gemini import Gemini
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.dialects.openai import UNREADABLE
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import ModelInfo
from tests.unit.dialects.chat_streams import JSON
from tests.unit.dialects.tongues import NAMED

TONGUES = [Claude(), Gemini(), OllamaTongue(4096)]
FIELDS = (
    *("tools", "tool_choice", "stop", "temperature", "response_format", "top_k", "user", "stream"),
    *("reasoning_effort", "max_tokens", "modalities", "n", "chat_template_kwargs", "x"),
)
PARTS = ("role", "content", "tool_calls", "tool_call_id", "reasoning_opaque")
MESSAGE = st.dictionaries(
    st.sampled_from(PARTS), JSON | st.sampled_from(["user", "assistant", "tool", "system"])
)


@pytest.mark.parametrize("tongue", TONGUES, ids=lambda tongue: type(tongue).__name__)
@given(
    more=st.dictionaries(st.sampled_from(FIELDS), JSON),
    messages=st.lists(MESSAGE, min_size=1, max_size=3),
)
@settings(max_examples=60)
def test_any_nonsense_is_refused_in_words_or_translated(
    tongue: Tongue, more: Any, messages: Any
) -> None:
    try:
        said = tongue.say({"model": "m", "messages": messages, **more}, ModelInfo(id="m"), None)
    except InvalidRequestError:
        return
    json.dumps(said.body)


@pytest.mark.parametrize("tongue", TONGUES, ids=lambda tongue: type(tongue).__name__)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"type":"message"}', b'{"error":{}}', b"<html>"]
)
def test_what_is_no_answer_is_not_taken_for_one(tongue: Tongue, body: bytes) -> None:
    with pytest.raises(UNREADABLE):
        tongue.whole(body, NAMED)
