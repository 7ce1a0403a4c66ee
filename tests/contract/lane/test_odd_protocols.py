"""What the lane hands over is served on the same connection: all of HTTP that it does not speak."""

from __future__ import annotations

import asyncio
from typing import Any

import h2.connection
import h2.events
import pytest

from tests.contract.lane.client import CHAT, PATIENCE, chat_body, connected, get, post
from tests.contract.lane.looking import lane_connections
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend


async def test_expect_gets_its_continue(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    whole = post(None, "expect: 100-continue")
    head, body = whole[: -len(chat_body())], whole[-len(chat_body()) :]
    async with connected(gateway) as client:
        assert (await client.ask(head)).status == 100
        assert (await client.ask(body)).status == 200
        assert (await client.ask(post())).status == 200
    assert [request.body for request in backend.generations] == [chat_body()] * 2


@pytest.mark.parametrize("stream", [False, True])
async def test_http_1_0_gets_an_answer_that_ends_with_the_connection(
    gateway: RunningGateway, stream: bool
) -> None:
    async with connected(gateway) as client:
        answer = await client.ask(post(chat_body(stream=stream), version="HTTP/1.0"))
        assert await client.rest() == b""
    assert answer.status == 200
    assert answer.header("transfer-encoding") is None
    assert b"Hello" in answer.body


async def test_a_chunked_upload(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in chat_body())
    async with connected(gateway) as client:
        answer = await client.ask(head.encode(), chunks, b"0\r\nx-trailer: 1\r\n\r\n")
    assert answer.status == 200
    assert backend.generations[0].body == chat_body()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_other_methods_on_hot_paths(
    gateway: RunningGateway, backend: ScriptedBackend, method: str
) -> None:
    """Also with all that a hot request has but its method."""
    async with connected(gateway) as client:
        for request in (get(CHAT, method=method), post().replace(b"POST", method.encode())):
            await client.send(request)
            answer = await client.answer(to_head=method == "HEAD")
            assert (answer.status, answer.header("allow")) == (405, "POST")
    assert not backend.generations


async def test_head_wherever_get_is(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        for path in ("/health/live", "/v1/models"):
            await client.send(get(path, method="HEAD"))
            assert (await client.answer(to_head=True)).status == 200
        assert (await client.ask(get())).body == b'{"status":"alive"}'


@pytest.mark.parametrize("extra", [1, 1024 * 1024], ids=["by a byte", "by far"])
async def test_a_body_over_the_limit_is_refused_to_a_client_that_writes_before_it_reads(
    gateway: RunningGateway, backend: ScriptedBackend, extra: int
) -> None:
    async with connected(gateway) as client:
        answer = await client.ask(post(b"x" * (2 * 1024 * 1024 + extra)))
    assert answer.status == 413
    assert "server.max_body_mb" in answer.error["message"]
    assert not backend.generations


async def test_a_body_at_the_limit_is_taken(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    body = chat_body().ljust(2 * 1024 * 1024)
    async with connected(gateway) as client:
        assert (await client.ask(post(body))).status == 200
        assert lane_connections(gateway)
    assert backend.generations[0].body == body


async def test_a_websocket_is_refused_in_the_dialect(gateway: RunningGateway) -> None:
    upgrade = ("connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13")
    async with connected(gateway) as client:
        answer = await client.ask(
            get("/v1/realtime", *upgrade, "sec-websocket-key: dGhlIHNhbXBsZQ==")
        )
        assert answer.status == 404
        assert "WebSocket" in answer.error["message"]
        assert await client.rest() == b""


@pytest.mark.parametrize("size", [70_000, 200_000])
async def test_a_head_that_is_too_long_is_refused(gateway: RunningGateway, size: int) -> None:
    """Hypercorn takes a head of up to twice its limit if it is lucky with its reads; a head that
    does not end is refused in any case."""
    async with connected(gateway) as client:
        await client.send(post(None, "x-long: " + "a" * size)[: size + 20])
        refused = await client.rest()
    assert refused.startswith(b"HTTP/1.1 431 ")
    assert b"longer than 64 KiB" in refused


@pytest.mark.parametrize(
    ("raw", "status", "says"),
    [
        (b"POST /v1/chat/completions HTTP/1.1\r\nno header\r\n\r\n", 400, "RFC 9112"),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a client that speaks TLS\r\n\r\n",
            400,
            "RFC",
        ),
        (
            b"POST /v1/models HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: zstd\r\n\r\n",
            501,
            "transfer coding",
        ),
    ],
)
async def test_what_is_no_http_is_refused_in_words(
    gateway: RunningGateway, raw: bytes, status: int, says: str
) -> None:
    async with connected(gateway) as client:
        answer = await client.ask(raw)
        assert answer.status == status
        assert says in answer.error["message"]
        assert await client.rest() == b""


# -- HTTP/2 ------------------------------------------------------------------------------------


class H2Client:
    """One HTTP/2 connection over an open stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.connection = h2.connection.H2Connection()

    def ask(self, stream: int, method: str, path: str, body: bytes = b"") -> None:
        """Send a request as one stream."""
        headers = [
            (":method", method),
            (":path", path),
            (":scheme", "http"),
            (":authority", "localhost"),
            ("content-type", "application/json"),
        ]
        self.connection.send_headers(stream, headers, end_stream=not body)
        if body:
            self.connection.send_data(stream, body, end_stream=True)

    async def answers(self, count: int) -> dict[int, tuple[str, bytes]]:
        """Status and body by stream, once `count` streams have ended."""
        status: dict[int, str] = {}
        body: dict[int, bytes] = {}
        ended = 0
        async with asyncio.timeout(PATIENCE):
            while ended < count:
                self._writer.write(self.connection.data_to_send())
                for event in self.connection.receive_data(await self._reader.read(65_536)):
                    if isinstance(event, h2.events.ResponseReceived):
                        named: dict[Any, Any] = dict(event.headers)
                        status[event.stream_id] = named[b":status"].decode()
                    elif isinstance(event, h2.events.DataReceived):
                        body[event.stream_id] = body.get(event.stream_id, b"") + event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        ended += 1
        return {stream: (status[stream], body[stream]) for stream in status}


async def test_http_2_with_prior_knowledge(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    async with connected(gateway) as client:
        http2 = H2Client(client.reader, client.writer)
        http2.connection.initiate_connection()
        http2.ask(1, "POST", CHAT, chat_body(stream=True))
        http2.ask(3, "GET", "/health/live")
        answers = await http2.answers(2)
    assert answers[3] == ("200", b'{"status":"alive"}')
    assert answers[1][0] == "200"
    assert answers[1][1].endswith(b"data: [DONE]\n\n")
    assert len(backend.generations) == 1


async def test_http_2_by_upgrade(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        http2 = H2Client(client.reader, client.writer)
        settings = http2.connection.initiate_upgrade_connection()
        assert settings is not None
        lines = ("connection: upgrade, http2-settings", "upgrade: h2c")
        upgrade = get("/health/live", *lines, f"http2-settings: {settings.decode()}")
        assert (await client.ask(upgrade)).status == 101
        assert await http2.answers(1) == {1: ("200", b'{"status":"alive"}')}
        http2.ask(3, "POST", CHAT, chat_body())
        assert (await http2.answers(1))[3][0] == "200"


async def test_a_hot_request_that_wants_an_upgrade_is_answered_without(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    lines = ("connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABk")
    async with connected(gateway) as client:
        assert (await client.ask(post(None, *lines))).status == 200
        assert (await client.ask(post())).status == 200
    assert len(backend.generations) == 2
