"""What is asked and answered: the mock, the load and the measures agree on it here.

A stream says when each of its chunks was sent: the text of a chunk is the monotonic clock in ns,
which is one clock for all processes of a machine. How many chunks and with what pause is asked for
in `max_tokens` and `seed`, which gateways that rebuild the request keep.
"""

from __future__ import annotations

import json
import re

MODEL = "bench-model"
PATH = "/v1/chat/completions"
SMALL = 2_000
LARGE = 200_000
HUGE = 2_000_000
"""Sizes of request bodies, in bytes."""
ANSWER_BYTES = 1_500
BYTES_PER_TOKEN = 4
TIME_DIGITS = 19
SENT_AT = re.compile(rb'"content":\s?"(\d{19})"')
"""The time in a streamed chunk."""
DONE = b"data: [DONE]"
_CREATED = 1_790_000_000
_PROSE = 'The gateway said: "nothing is lost".\nThen it passed the answer on, byte by byte. '


def request(port: int, size: int, *, chunks: int = 0, pause_ms: int = 0) -> bytes:
    """A whole chat request with a body of `size` bytes; with `chunks`, one for a stream.

    `model` comes last, as the OpenAI SDK sends it.
    """
    body = _body(_PROSE, chunks, pause_ms)
    short = size - len(body)
    # Whole sentences are two bytes longer in JSON than here, for the quotes and the newline.
    sentences, rest = divmod(max(0, short), len(json.dumps(_PROSE)) - 2)
    body = _body(_PROSE * (sentences + 1) + "." * rest, chunks, pause_ms)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\n"
        "Accept: application/json\r\nAuthorization: Bearer sk-bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def answer(prompt_bytes: int = SMALL) -> bytes:
    """The JSON answer, of `ANSWER_BYTES`, to a request of so many bytes. It counts about as many
    tokens as were sent, as a backend does that has read them all."""
    tokens = prompt_bytes // BYTES_PER_TOKEN
    return _answer("x" * (ANSWER_BYTES - len(_answer("", tokens))), tokens)


def models() -> bytes:
    """The model list."""
    entry = {"id": MODEL, "object": "model", "created": _CREATED, "owned_by": "bench"}
    return json.dumps({"object": "list", "data": [entry]}).encode()


def event() -> tuple[bytes, bytes]:
    """One event of a stream: what is before its time of sending, and what is after."""
    before, after = _chunk({"content": "#"}, None).split(b"#")
    return before, after


def last_events() -> bytes:
    """The end of a stream."""
    return _chunk({}, "stop") + DONE + b"\n\n"


def _body(text: str, chunks: int, pause_ms: int) -> bytes:
    fields: dict[str, object] = {
        "messages": [
            {"role": "system", "content": "You are terse."},
            {"role": "user", "content": text},
        ],
        "temperature": 0.2,
        "max_tokens": max(1, chunks),
        "seed": pause_ms,
        "stream": chunks > 0,
        "model": MODEL,
    }
    return json.dumps(fields).encode()


def _answer(text: str, prompt_tokens: int) -> bytes:
    message = {"role": "assistant", "content": text}
    return json.dumps(
        {
            "id": "chatcmpl-bench",
            "object": "chat.completion",
            "created": _CREATED,
            "model": MODEL,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": 300,
                "total_tokens": prompt_tokens + 300,
            },
        }
    ).encode()


def _chunk(delta: dict[str, str], finish_reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    data = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": MODEL,
        "choices": [choice],
    }
    return b"data: " + json.dumps(data).encode() + b"\n\n"
