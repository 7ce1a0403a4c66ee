"""Several requests on one connection: in order, one at a time, whoever answers them."""

from __future__ import annotations

import asyncio

import pytest

from nexus_proxy.server.lane import MAX_PIPELINED
from tests.contract.lane.client import CHAT, chat_body, connected, get, post
from tests.contract.lane.looking import eventually, lane_connections, the_lane_connection
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, ScriptedBackend

ONE_READ = 256 * 1024
"""The most that uvloop reads at once."""


def numbered(number: int, *, stream: bool = False) -> bytes:
    return post(chat_body(f"r{number}", stream=stream), f"x-request-id: r{number}")


def asked(backend: ScriptedBackend) -> list[str]:
    return [request.json["messages"][0]["content"] for request in backend.generations]


async def test_pipelined_requests_are_answered_in_order_one_at_a_time(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    count = 8
    async with connected(gateway) as client:
        await client.send(b"".join(numbered(n, stream=n % 2 == 0) for n in range(count)))
        answers = [await client.answer() for _ in range(count)]
    names = [f"r{n}" for n in range(count)]
    assert [answer.header("x-request-id") for answer in answers] == names
    assert asked(backend) == names
    assert backend.peak == 1


async def test_hot_cold_and_hot_again_on_one_connection(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    sent = [
        numbered(0),
        numbered(1),
        get(),
        numbered(2, stream=True),
        get("/v1/models"),
        numbered(3),
    ]
    async with connected(gateway) as client:
        at_once = [await client.ask(b"".join(sent)), *[await client.answer() for _ in sent[1:]]]
        assert not lane_connections(gateway)
    async with connected(gateway) as client:
        each = [await client.ask(request) for request in sent]
    for answers in (at_once, each):
        assert [answer.status for answer in answers] == [200] * len(sent)
        assert answers[2].body == b'{"status":"alive"}'
        assert answers[3].body.endswith(b"data: [DONE]\n\n")
    assert asked(backend) == ["r0", "r1", "r2", "r3"] * 2


async def test_a_connection_is_handed_over_in_the_middle_of_a_request(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    body = chat_body("r1")
    chunked = (
        f"POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()
    async with connected(gateway) as client:
        await client.ask(numbered(0))
        await client.send(chunked[:20])
        await eventually(lambda: bool(lane_connections(gateway)))
        await client.send(chunked[20:], b"%x\r\n%b" % (len(body), body[:10]))
        await eventually(lambda: not lane_connections(gateway))
        answer = await client.ask(body[10:], b"\r\n0\r\n\r\n")
    assert answer.status == 200
    assert asked(backend) == ["r0", "r1"]


@pytest.mark.parametrize("stream", [False, True])
async def test_nothing_is_read_after_a_request_that_closes(
    gateway: RunningGateway, backend: ScriptedBackend, stream: bool
) -> None:
    """Hypercorn answers such bytes with a 400, and no other answer if they come early enough. A
    client may not send them (RFC 9112, 9.6); the lane answers what was asked before."""
    closing = post(chat_body("last", stream=stream), "connection: close")
    async with connected(gateway) as client:
        answer = await client.ask(closing + numbered(1))
        assert await client.rest() == b""
    assert answer.status == 200
    assert answer.header("connection") == "close"
    assert asked(backend) == ["last"]


async def test_nothing_is_read_after_a_request_that_tells_two_lengths(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    body = chat_body("first")
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    two = post(chunked, "transfer-encoding: chunked")
    async with connected(gateway) as client:
        answer = await client.ask(two)
        client.writer.write(numbered(1))
        assert await client.rest() == b""
    assert (answer.status, answer.header("connection")) == (200, "close")
    assert asked(backend) == ["first"]


async def test_a_request_larger_than_what_is_read_ahead_waits_for_its_turn(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    large = chat_body("x" * 20 * MAX_PIPELINED)
    async with connected(gateway) as client:
        await client.send(numbered(0))
        await backend.until(lambda: bool(backend.generations))
        sending = asyncio.gather(client.send(post(large), numbered(2)))
        connection = await the_lane_connection(gateway)
        await eventually(lambda: len(connection._buffer) > MAX_PIPELINED)
        backend.release()
        answers = [await client.answer() for _ in range(3)]
        await sending
    assert [answer.status for answer in answers] == [200] * 3
    assert backend.generations[1].body == large


async def test_a_large_odd_request_behind_a_running_one_is_handed_over_whole(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    large = chat_body("x" * 20 * MAX_PIPELINED)
    async with connected(gateway) as client:
        await client.send(numbered(0))
        await backend.until(lambda: bool(backend.generations))
        sending = asyncio.gather(client.send(post(large, version="HTTP/1.0")))
        connection = await the_lane_connection(gateway)
        await eventually(lambda: len(connection._buffer) > MAX_PIPELINED)
        backend.release()
        answers = [await client.answer() for _ in range(2)]
        await sending
    assert [answer.status for answer in answers] == [200] * 2
    assert backend.generations[1].body == large


async def test_a_client_that_pipelines_megabytes_is_not_read_ahead_of(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before="headers"))
    async with connected(gateway) as client:
        flood = b"".join(numbered(n) for n in range(40_000))
        client.writer.write(flood)
        connection = await the_lane_connection(gateway)
        longest = 0

        async def answered(count: int) -> None:
            nonlocal longest
            for _ in range(count):
                await client.answer()
                longest = max(longest, len(connection._buffer))

        await backend.until(lambda: bool(backend.generations))
        await eventually(lambda: len(connection._buffer) > MAX_PIPELINED)
        backend.release()
        await answered(100)
        assert longest <= MAX_PIPELINED + ONE_READ
        assert backend.peak == 1
        # It must still be there, unread: else this has tested nothing.
        assert client.writer.transport.get_write_buffer_size() > 0
