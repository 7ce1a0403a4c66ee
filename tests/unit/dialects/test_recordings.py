"""Streams as providers document them: they say the same, each in its own way, and wherever they are
cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nexus_proxy.dialects.claude import Claude
from nexus_proxy.dialects.gemini import Gemini
from nexus_proxy.dialects.native import NATIVE
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.tongue import Tongue
from nexus_proxy.relay.tap import StreamTap
from tests.unit.dialects.tongues import NAMED, aggregated, essence

FOLDER = Path(__file__).parents[2] / "recordings"
SPOKEN: dict[str, tuple[Tongue | None, bytes]] = {
    "openai-chat.sse": (None, b'"finish_reason":"tool_calls"'),
    "vllm-chat.sse": (None, b'"finish_reason":"tool_calls"'),
    "anthropic.sse": (Claude(), b"message_stop"),
    "google.sse": (Gemini(), b"finishReason"),
    "ollama.ndjson": (OllamaTongue(4096), b'"done":true'),
}
"""Who reads each of them, and what stands in the event before which it has no end."""
NATIVE_ONES = {
    "anthropic.sse": (Endpoint.MESSAGES, "tool_use"),
    "openai-responses.sse": (Endpoint.RESPONSES, "completed"),
}
CALLS = [("look", {"city": "Zürich"}), ("wait", {})]


def fed(name: str, pieces: Iterable[bytes]) -> tuple[list[bytes], StreamTap]:
    """A recording in pieces, as events of chat."""
    tongue, _ = SPOKEN[name]
    ear, tap = None if tongue is None else tongue.ear(NAMED), tapped()
    events = [event for p in pieces for event in tap.feed(p if ear is None else ear.feed(p))]
    return events, tap


def tapped(**more: Any) -> StreamTap:
    return StreamTap(choices=1, strip_usage=False, rename=None, **more)


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """In two at each byte, then byte by byte."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]
    yield [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("name", SPOKEN)
def test_a_recording_says_the_same_as_all_others_wherever_it_is_cut(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    whole, tap = fed(name, [data])
    assert (tap.complete, tap.pending, tap.error) == (True, 0, None)
    answer = aggregated(whole)
    message = answer["choices"][0]["message"]
    message.setdefault("reasoning_content", message.get("reasoning"))
    said = ('Ja 🙂\u2028"', "Grüße,\u2028then", CALLS, "tool_calls", (127, 11))
    assert essence(answer) == said
    assert [call["id"] for call in message["tool_calls"]] == ["call_a", "call_b"]
    for pieces in cuts(data):
        assert fed(name, pieces)[0] == whole


@pytest.mark.parametrize("name", SPOKEN)
def test_a_recording_that_breaks_off_has_no_end(name: str) -> None:
    data = (FOLDER / name).read_bytes()
    for at in range(0, data.rindex(SPOKEN[name][1]), 7):
        assert not fed(name, [data[:at]])[1].complete


@pytest.mark.parametrize("name", NATIVE_ONES)
def test_what_goes_through_as_it_is_reads_the_same_wherever_it_is_cut(name: str) -> None:
    endpoint, finish = NATIVE_ONES[name]
    data = (FOLDER / name).read_bytes()
    seen = set()
    for pieces in ([data], *cuts(data)):
        tap = tapped(read=NATIVE[endpoint].reader())
        assert b"".join(event for piece in pieces for event in tap.feed(piece)) == data
        seen.add((tap.finish_reason, tap.done, tap.token_events, tap.usage))
    ((reason, done, _, usage),) = seen
    assert (reason, done) == (finish, True)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (127, 11, 100)
