"""No byte of anybody else's can end a header line of an answer, or begin one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.contract.lane.client import Client, chat_body, connected, post
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.nasty_names import NASTY
from tests.support.scripted import Behaviour, Exchange, ScriptedBackend, faults

INJECTED = "x\r\nx-injected: 1\r\n\r\nHTTP/1.1 200 OK\r\n"
NAMES = (INJECTED, "x\nx-injected: 1", "x\rx-injected: 1", "x\0\x0b\x0c\x1b\x7f\x85\u2028é", "x\t ")
MODELS = (*NAMES, *(name for name in NASTY if name.isprintable() or name.isascii()))
LINES = (
    b"x-ratelimit-a: a\r\n x-injected: 1",
    b"x-ratelimit-a: a\r\n\tx-injected: 1",
    b"x-ratelimit-a: a\rx-injected: 1",
    b"x-ratelimit-a: a\nx-injected: 1",
    b"x-ratelimit-a: a\x00b",
    b"x-ratelimit-\xff: a",
    b"x-request-id: a\x0bb\x0cc\x7fd\x85",
    b"retry-after: 1\r\n x-injected: 1",
    b"content-type: application/json\r\n x-injected: 1",
)


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m", *MODELS], name="one") as one:
        yield one


ASKED = (
    b"x-request-id: a\xffb",
    b"x-request-id: a b\tc",
    b"x-client-request-id: a:b",
    b"origin: app://a\xff",
    b"origin: app://a\tx-injected: 1",
    b"origin: http://localhost:1\xa0",
    b"x-nexus-hops: a\xff, b\tc",
)


async def checked(client: Client, request: bytes) -> bytes:
    """Send a request; the raw head of its answer, which must be clean, and its body."""
    await client.send(request)
    raw = await client.reader.readuntil(b"\r\n\r\n")
    lines = raw[:-4].split(b"\r\n")
    for line in lines:
        assert not any(byte < 32 or byte == 127 for byte in line), line
    names = [line.partition(b":")[0] for line in lines]
    assert b"x-injected" not in names
    assert len(set(names)) == len(names)
    if (length := dict(line.split(b": ", 1) for line in lines[1:]).get(b"content-length")) is None:
        return await client.reader.readuntil(b"0\r\n\r\n")
    return await client.reader.readexactly(int(length))


@pytest.mark.parametrize("stream", [False, True])
async def test_names_of_models(gateway: RunningGateway, stream: bool) -> None:
    async with connected(gateway) as client:
        for name in MODELS:
            await checked(client, post(chat_body(stream=stream, model=name)))
            await checked(client, post(chat_body(stream=stream, model=name + "?")))


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_backends(backend: ScriptedBackend, name: str) -> None:
    async with (
        running_gateway([backend_entry(name, backend.url)]) as gateway,
        connected(gateway) as client,
    ):
        assert b"Hello" in await checked(client, post())
        told = await checked(client, post(None, "x-nexus-zone: nowhere"))
        assert json.loads(told)["error"]
        backend.behave(faults.status(400, name))
        await checked(client, post())
        # Refused by routing, with the reasons in headers.
        await checked(client, post(chat_body(tools=[{"type": "function"}], max_tokens=10**9)))


@pytest.mark.parametrize("status", [200, 400, 429])
async def test_headers_of_backends(backend: ScriptedBackend, status: int) -> None:
    def answering(line: bytes) -> Behaviour:
        async def answer(exchange: Exchange) -> None:
            head = b"HTTP/1.1 %d Odd\r\n%b\r\ncontent-length: 2\r\n\r\n{}" % (status, line)
            await exchange.write(head)
            exchange.close()

        return answer

    entries = [backend_entry("one", backend.url)]
    async with (
        running_gateway(entries, routing={"max_retries": 0}) as gateway,
        connected(gateway) as client,
    ):
        for line in LINES:
            backend.behave(answering(line))
            await checked(client, post())
        assert len(backend.generations) >= len(LINES)


async def test_headers_of_clients(gateway: RunningGateway) -> None:
    async with connected(gateway) as client:
        for line in ASKED:
            whole = post(None, line.decode("latin-1")).replace(
                line.decode("latin-1").encode(), line
            )
            await checked(client, whole)
