"""What it costs to translate a stream, and a request: all that is done beside passing chat through.

python -m tests.bench.translation_cost

A pair is the dialect of a client and that of a backend; "chat" is OpenAI's. CPU is told in ms for
100 chunks of text, of thought and of a tool's arguments (Google and Ollama send calls whole: 100
calls), beside what passing them through costs; then what a stream keeps in memory for each chunk;
then by how many ms the first token is late, with a request of 90 KB and 25 tools, as coding agents
send it. The least of several rounds counts, since the machine may have more to do.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from nexus_proxy.dialects import openai
from nexus_proxy.dialects.base import Asked, Dialect, Json
from nexus_proxy.dialects.claude import Claude
from nexus_proxy.dialects.foreign import FOREIGN
from nexus_proxy.dialects.gemini import Gemini
from nexus_proxy.dialects.ollama_tongue import OllamaTongue
from nexus_proxy.dialects.openai import Endpoint
from nexus_proxy.dialects.openai_stream import decode_chunk
from nexus_proxy.dialects.tongue import Ear, Named, Tongue
from nexus_proxy.relay.tap import StreamTap
from nexus_proxy.state import ModelInfo
from tests.support.scripted.claude import framed
from tests.support.scripted.payloads import sse
from tests.support.wording import in_responses

CHUNKS, ROUNDS = 200, 60
PIECES = (" the", " gateway", " reads", " what", " comes", " by,", " é", "\n")
TURNS, TOOLS = 20, 25
MODEL, NAMED = ModelInfo(id="m", max_output=64_000), Named(model="m", created=5)

Frames = Callable[[str, Sequence[str]], list[bytes]]
"""The bytes of a stream of `text`, `thought` or `arguments`, an event each."""


class Pair(Struct, frozen=True):
    """Who asks, and who answers. None: in chat."""

    client: Endpoint | None
    backend: str | None

    @property
    def name(self) -> str:
        return f"{self.client.value if self.client else 'chat'} → {self.backend or 'chat'}"


# -- streams, as each kind of backend sends them -------------------------------------------------


def of_chat(kind: str, pieces: Sequence[str]) -> list[bytes]:
    keys = {"text": "content", "thought": "reasoning_content"}
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    if kind == "arguments":
        named = {"name": "run", "arguments": ""}
        deltas.append({"tool_calls": [{"index": 0, "id": "c", "function": named}]})
        deltas += [
            {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces
        ]
    else:
        deltas += [{keys[kind]: piece} for piece in pieces]
    return [
        sse({**top, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        for delta in deltas
    ]


def of_anthropic(kind: str, pieces: Sequence[str]) -> list[bytes]:
    block, delta, key = {
        "text": ({"type": "text", "text": ""}, "text_delta", "text"),
        "thought": ({"type": "thinking", "thinking": ""}, "thinking_delta", "thinking"),
        "arguments": (
            {"type": "tool_use", "id": "t", "name": "run", "input": {}},
            "input_json_delta",
            "partial_json",
        ),
    }[kind]
    events: list[Json] = [
        {"type": "message_start", "message": {"id": "msg_1", "usage": {"input_tokens": 5}}},
        {"type": "content_block_start", "index": 0, "content_block": block},
    ]
    events += [
        {"type": "content_block_delta", "index": 0, "delta": {"type": delta, key: piece}}
        for piece in pieces
    ]
    return [framed(event) for event in events]


def of_google(kind: str, pieces: Sequence[str]) -> list[bytes]:
    """Arguments come whole, a call in each event."""

    def part(piece: str) -> Json:
        if kind == "arguments":
            return {"functionCall": {"name": "run", "args": {"told": piece}}}
        return {"text": piece, **({"thought": True} if kind == "thought" else {})}

    def event(piece: str) -> Json:
        content = {"role": "model", "parts": [part(piece)]}
        counted = {"promptTokenCount": 5, "totalTokenCount": 9}
        candidate = {"content": content, "index": 0}
        return {"candidates": [candidate], "usageMetadata": counted, "responseId": "r"}

    return [sse(event(piece)) for piece in pieces]


def of_ollama(kind: str, pieces: Sequence[str]) -> list[bytes]:
    """Arguments come whole, a call in each line."""

    def said(piece: str) -> Json:
        if kind == "arguments":
            function = {"name": "run", "arguments": {"told": piece}}
            return {"content": "", "tool_calls": [{"function": function}]}
        return {"content": piece} if kind == "text" else {"content": "", "thinking": piece}

    line = {"model": "m", "created_at": "2026-11-27T08:00:00Z", "done": False}
    return [
        msgspec.json.encode({**line, "message": {"role": "assistant", **said(piece)}}) + b"\n"
        for piece in pieces
    ]


BACKENDS: dict[str | None, tuple[Tongue | None, Frames]] = {
    None: (None, of_chat),
    "anthropic": (Claude(), of_anthropic),
    "google": (Gemini(), of_google),
    "ollama": (OllamaTongue(32_768), of_ollama),
}
CLIENTS = (None, Endpoint.MESSAGES, Endpoint.RESPONSES, Endpoint.OLLAMA_CHAT)
CHAT, AS_IT_IS = Pair(None, None), Pair(Endpoint.MESSAGES, "anthropic")
PAIRS = [
    pair
    for client in CLIENTS
    for backend in BACKENDS
    if (pair := Pair(client, backend)) not in (CHAT, AS_IT_IS)
]


# -- requests, as agents send them ---------------------------------------------------------------

_PROSE = "Read the file, then say what it does and what is wrong with it. " * 12
_SCHEMA = {
    "type": "object",
    "properties": {f"argument_{n}": {"type": "string", "description": _PROSE} for n in range(3)},
}


def request(client: Endpoint | None) -> bytes:
    """One of about 80 KB in a dialect: instructions, tools, and turns with calls."""
    chat: Json = {"model": "m", "stream": True, "messages": [], "max_tokens": 500}
    chat["messages"].append({"role": "system", "content": _PROSE * 10})
    for n in range(TURNS):
        function = {"name": "tool_1", "arguments": '{"argument_1":"x"}'}
        call = {"id": f"c{n}", "type": "function", "function": function}
        chat["messages"] += [
            {"role": "user", "content": "Go on."},
            {"role": "assistant", "content": "So:", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"c{n}", "content": _PROSE},
        ]
    chat["tools"] = [
        {"type": "function", "function": {"name": f"tool_{n}", "parameters": _SCHEMA}}
        for n in range(TOOLS)
    ]
    return msgspec.json.encode(_IN_OTHER_WORDS[client](chat))


def _in_messages(chat: Json) -> Json:
    return {**Claude().say(chat, MODEL, None).body, "stream": True}


def _in_ollamas(chat: Json) -> Json:
    return OllamaTongue(32_768).say(chat, MODEL, None).body


_IN_OTHER_WORDS: dict[Endpoint | None, Callable[[Json], Json]] = {
    None: lambda chat: chat,
    Endpoint.MESSAGES: _in_messages,
    Endpoint.RESPONSES: in_responses,
    Endpoint.OLLAMA_CHAT: _in_ollamas,
}


# -- measuring -----------------------------------------------------------------------------------


def _asked(kept: Any = None) -> Asked:
    return Asked(id="req-1", model="m", created=5, prompt_tokens=9, kept=kept)


def way(pair: Pair, kept: Any = None) -> Callable[[bytes], object]:
    """What happens to the bytes that come from a backend."""
    tongue, _ = BACKENDS[pair.backend]
    ear: Ear | None = None if tongue is None else tongue.ear(NAMED)
    voice = None if pair.client is None else FOREIGN[pair.client].stream(_asked(kept))
    tap = StreamTap(choices=1, strip_usage=False, rename=None)

    def feed(data: bytes) -> object:
        events = tap.feed(data if ear is None else ear.feed(data))
        if voice is None:
            return events
        chunks = [chunk for event in events if (chunk := decode_chunk(event)) is not None]
        return [told for chunk in chunks for told in voice.feed(chunk)]

    return feed


def milliseconds_per_100(pair: Pair, kind: str) -> float:
    """CPU of one stream, for 100 of its chunks."""
    frames = BACKENDS[pair.backend][1](kind, [PIECES[n % len(PIECES)] for n in range(CHUNKS)])
    runs = []
    for _ in range(ROUNDS):
        feed = way(pair)
        began = time.process_time()
        for frame in frames:
            feed(frame)
        runs.append(time.process_time() - began)
    return min(runs) / len(frames) * 100 * 1e3


def bytes_kept(pair: Pair, kind: str) -> float:
    """Bytes that one stream keeps for each chunk that has gone by."""
    frames = BACKENDS[pair.backend][1](kind, [PIECES[n % len(PIECES)] for n in range(CHUNKS)])
    feed = way(pair)
    feed(frames[0])
    gc.collect()
    tracemalloc.start()
    for frame in frames[1:]:
        feed(frame)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / CHUNKS


def first_milliseconds(pair: Pair) -> float:
    """CPU until the first token of an agent's request: translating that, and the first chunks."""
    body = request(pair.client)
    tongue, frames = BACKENDS[pair.backend]
    first = frames("text", PIECES)[:3]
    dialect: Dialect | None = None if pair.client is None else FOREIGN[pair.client]
    runs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        chat, kept = body, None
        if dialect is not None:
            told = dialect.to_chat(openai.decode_object(body))
            chat, kept = msgspec.json.encode(told.body), told.kept
        if tongue is not None:
            msgspec.json.encode(tongue.say(msgspec.json.decode(chat), MODEL, 5000).body)
        feed = way(pair, kept)
        for frame in first:
            feed(frame)
        runs.append(time.process_time() - began)
    return min(runs) * 1e3


def main() -> None:
    """Print the figures."""
    kinds = ("text", "thought", "arguments")
    rows = [["", *kinds, "kept, B", "first, ms"]]
    passed = {kind: milliseconds_per_100(CHAT, kind) for kind in kinds}
    for pair in PAIRS:
        cpu = [f"{milliseconds_per_100(pair, kind) - passed[kind]:.2f}" for kind in kinds]
        kept = max(bytes_kept(pair, kind) for kind in kinds)
        rows.append([pair.name, *cpu, f"{kept:.0f}", f"{first_milliseconds(pair):.2f}"])
    for name, *figures in rows:
        line = f"{name:<24}" + "".join(f"{figure:>11}" for figure in figures)
        print(line)  # noqa: T201 the point of this


if __name__ == "__main__":
    main()
