"""The upstream: a protocol on uvloop with prepared answers, so that it is never what is measured.

    python -m tests.bench.gateways.mock [--port N]

Prints its port, and ends when its standard input does: it cannot outlive who started it.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time

import httptools
import uvloop

from tests.bench.gateways import payloads

_STREAMS = re.compile(rb'"stream":\s?true')
_CHUNKS = re.compile(rb'"max_(?:completion_)?tokens":\s?(\d+)')
_PAUSE = re.compile(rb'"seed":\s?(\d+)')


def _json(body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ANSWERS = {
    size: _json(payloads.answer(size)) for size in (payloads.SMALL, payloads.LARGE, payloads.HUGE)
}
MODELS = _json(payloads.models())
FINE = _json(b'{"status": "ok"}')
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
EVENT = payloads.event()
BEFORE = b"%x\r\n%b" % (sum(map(len, EVENT)) + payloads.TIME_DIGITS, EVENT[0])
AFTER = EVENT[1] + b"\r\n"
STREAM_END = _framed(payloads.last_events()) + b"0\r\n\r\n"


class Stream:
    """One streamed answer. Chunks are due at fixed times from its start, so that it keeps pace."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, body: bytes
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._left = _number(_CHUNKS, body)
        self._pause = _number(_PAUSE, body) / 1000
        self._due = loop.time()
        self._timer: asyncio.Handle | None = None
        transport.write(STREAM_HEAD)
        self._send()

    def stop(self) -> None:
        """The client is gone."""
        if self._timer is not None:
            self._timer.cancel()

    def _send(self) -> None:
        chunk = b"%b%0*d%b" % (BEFORE, payloads.TIME_DIGITS, time.monotonic_ns(), AFTER)
        self._left -= 1
        if self._left == 0:
            self._transport.write(chunk + STREAM_END)
            return
        self._transport.write(chunk)
        self._due += self._pause
        self._timer = self._loop.call_at(self._due, self._send)


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._stream: Stream | None = None
        self._url = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: connected."""
        self._transport = transport  # type: ignore[assignment]

    def connection_lost(self, _exc: Exception | None) -> None:
        """asyncio: gone."""
        if self._stream is not None:
            self._stream.stop()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes came."""
        assert self._transport is not None
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_url(self, url: bytes) -> None:
        """httptools: a request begins."""
        self._url = url
        self._body = []

    def on_body(self, body: bytes) -> None:
        """httptools: a part of its body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """httptools: it is whole."""
        assert self._transport is not None
        if self._url.endswith(b"/chat/completions"):
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            # Nothing large is asked for as a stream: a long prompt is not searched.
            if len(body) < 4 * payloads.SMALL and _STREAMS.search(body):
                self._stream = Stream(self._loop, self._transport, body)
                return
            self._transport.write(_answer_to(len(body)))
        else:
            self._transport.write(MODELS if self._url.endswith(b"/models") else FINE)
        if not self._parser.should_keep_alive():
            self._transport.close()


def _answer_to(size: int) -> bytes:
    return next(
        (answer for at_most, answer in ANSWERS.items() if size <= at_most), ANSWERS[payloads.HUGE]
    )


def _number(pattern: re.Pattern[bytes], body: bytes) -> int:
    found = pattern.search(body)
    return int(found[1]) if found else 1


async def serve(port: int) -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", port, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 for who started it
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    """Run the mock."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateways.mock")
    parser.add_argument("--port", type=int, default=0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
