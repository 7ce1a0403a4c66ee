"""HTTP as it really comes: old versions, new ones, pipelines, chunks, half-closed and odd."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.contract.hot.asking import (
    CHAT,
    body_for,
    error_of,
    exchange,
    head_of,
    parsed,
    request_of,
)
from tests.support.curl import curl as plain_curl
from tests.support.gateway import RunningGateway
from tests.support.scripted import Answer, ScriptedBackend

CONTENT = json.dumps(body_for(CHAT)).encode()
STREAM = json.dumps(body_for(CHAT, stream=True)).encode()


async def curl(gateway: RunningGateway, *arguments: str) -> bytes:
    """What curl prints for a chat."""
    return await plain_curl(gateway.url + CHAT, *arguments)


def as_json(content: bytes) -> tuple[str, ...]:
    return ("-H", "content-type: application/json", "-d", content.decode())


async def test_curl(gateway: RunningGateway) -> None:
    whole = json.loads(await curl(gateway, *as_json(CONTENT)))
    assert whole["choices"][0]["message"]["content"] == "Hello from one."
    assert (await curl(gateway, "-N", *as_json(STREAM))).endswith(b"data: [DONE]\n\n")


async def test_curl_without_a_content_type_is_told_what_to_add(gateway: RunningGateway) -> None:
    said = json.loads(await curl(gateway, "-d", CONTENT.decode()))
    assert "send application/json" in said["error"]["message"]


@pytest.mark.parametrize("flag", ["--http2-prior-knowledge", "--http2", "--http1.0"])
async def test_curl_with_other_versions(gateway: RunningGateway, flag: str) -> None:
    whole = json.loads(await curl(gateway, flag, *as_json(CONTENT)))
    assert whole["choices"][0]["message"]["content"] == "Hello from one."
    streamed = await curl(gateway, flag, "-N", "-i", *as_json(STREAM))
    assert streamed.endswith(b"data: [DONE]\n\n")
    assert b"x-nexus-backend: one" in streamed


async def test_a_large_upload_waits_for_100_continue(
    gateway: RunningGateway, backend: ScriptedBackend, tmp_path: Path
) -> None:
    body = tmp_path / "body"
    content = CONTENT[:-1] + b" " * 3_000_000 + b"}"
    body.write_bytes(content)
    out = await curl(
        gateway, "-i", "-H", "content-type: application/json", "--data-binary", f"@{body}"
    )
    assert out.startswith(b"HTTP/1.1 100")
    assert b"HTTP/1.1 200" in out
    assert backend.generations[0].body == content


@pytest.mark.parametrize("host", [None, "localhost"])
async def test_http_1_0_gets_an_answer_without_chunks(
    gateway: RunningGateway, host: str | None
) -> None:
    for content in (CONTENT, STREAM):
        asked = request_of(content, version="1.0", host=host, close=False)
        answer = parsed(await exchange(gateway, asked))
        assert answer.status_code == 200
        assert "transfer-encoding" not in answer.headers
    assert answer.body.endswith(b"data: [DONE]\n\n")
    assert answer.body.startswith(b"data: {")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_pipeline_is_answered_in_order(
    gateway: RunningGateway, backend: ScriptedBackend, chunked: bool
) -> None:
    """By the lane, by Hypercorn, and where a connection goes from the one to the other."""
    head = head_of(close=False, content_type="application/json", transfer_encoding="chunked")
    odd = head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
    plain = request_of(CONTENT, close=False)
    stream = request_of(STREAM, close=False)
    health = head_of("GET", "/health", close=False)
    last = request_of(b"{")
    parts = [plain, stream, health, plain, last] if not chunked else [odd, stream, odd, last]
    raw = await exchange(gateway, b"".join(parts))
    statuses = re.findall(rb"HTTP/1.1 (\d+)", raw)
    assert statuses == [b"200"] * (len(parts) - 1) + [b"400"]
    assert raw.count(b"[DONE]") == 1
    assert len(backend.generations) == len(parts) - (2 if chunked is False else 1)


async def test_a_connection_is_kept_for_many_requests_of_all_kinds(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for number in range(30):
        bad = number % 5 == 4
        writer.write(request_of(b"{" if bad else CONTENT, close=False))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400" if bad else b"HTTP/1.1 200")
        assert b"connection: close" not in head.lower()
        length = int(re.findall(rb"content-length: (\d+)", head)[0])
        assert json.loads(await reader.readexactly(length))
    writer.write(request_of(CONTENT))
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    await reader.read(-1)
    writer.close()
    assert len(backend.generations) == 25


async def test_bytes_that_trickle_in_are_a_request_all_the_same(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    asked = request_of(CONTENT)
    pieces = [asked[n : n + 7] for n in range(0, len(asked), 7)]
    assert parsed(await exchange(gateway, *pieces)).status_code == 200
    assert backend.generations[0].body == CONTENT


async def test_a_client_that_closes_its_side_is_taken_to_be_gone(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """As nginx and Hypercorn do: a half-closed connection looks like a client that left."""
    backend.behave(Answer(hold_before="headers"))
    assert await exchange(gateway, request_of(CONTENT), end=True) == b""
    await gateway.until(lambda: gateway.runtime.history.in_flight == 0)
    assert gateway.runtime.registry.get("one").in_flight == 0


@pytest.mark.parametrize("size", [1_000, 60_000])
async def test_a_long_header_is_borne(gateway: RunningGateway, size: int) -> None:
    asked = request_of(CONTENT, x_long="x" * size)
    assert parsed(await exchange(gateway, asked)).status_code == 200


async def test_a_head_without_end_is_cut_off(gateway: RunningGateway) -> None:
    head = head_of(x_long="x" * 300_000)[:-4]
    raw = await exchange(gateway, head)
    assert raw == b"" or raw.startswith(b"HTTP/1.1 4")


ODD: list[tuple[str, dict[str, Any]]] = [
    ("no host", {"host": None}),
    ("two lengths", {"content_length": "5\r\nContent-Length: 6"}),
    ("a space before the colon", {"x_a": "1\r\nX-B : 2"}),
    ("a folded line", {"x_a": "1\r\n folded"}),
    ("a zero byte", {"x_a": "1\x002"}),
    ("an unknown coding", {"transfer_encoding": "gzip"}),
    ("another version", {"version": "3.0"}),
    ("no http", {"version": "1.1\r\n\r\nGARBAGE \x01\x02"}),
]


@pytest.mark.parametrize("given", [odd[1] for odd in ODD], ids=[odd[0] for odd in ODD])
async def test_what_is_no_http_ends_the_connection_and_reaches_nobody(
    gateway: RunningGateway, backend: ScriptedBackend, given: dict[str, Any]
) -> None:
    raw = await exchange(gateway, request_of(b"{}", **given))
    assert raw == b"" or re.match(rb"HTTP/1.1 (4\d\d|501)", raw)
    assert not backend.generations
    assert parsed(await exchange(gateway, request_of(CONTENT))).status_code == 200


async def test_a_header_that_comes_twice_loses_no_word(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """Which of two zones counts must not depend on who reads them; two hop headers are one list."""
    for framing in ("content_length", "transfer_encoding"):
        for first, second in (("restricted", "open"), ("open", "restricted")):
            zones = {"x_nexus_zone": f"{first}\r\nX-Nexus-Zone: {second}"}
            error_of(parsed(await ask(gateway, framing, zones)), 400, "invalid_request")
        hops = {"x_nexus_hops": f"{gateway.runtime.node_id}\r\nX-Nexus-Hops: other"}
        error_of(parsed(await ask(gateway, framing, hops)), 508, "loop_detected")
        hops = {"x_nexus_hops": f"other\r\nX-Nexus-Hops: {gateway.runtime.node_id}"}
        error_of(parsed(await ask(gateway, framing, hops)), 508, "loop_detected")
    assert not backend.generations


async def ask(gateway: RunningGateway, framing: str, headers: dict[str, str]) -> bytes:
    """A chat by the lane (`content_length`) or by Hypercorn (`transfer_encoding`)."""
    if framing == "content_length":
        return await exchange(gateway, request_of(CONTENT, **headers))
    given: dict[str, Any] = {"transfer_encoding": "chunked", **headers}
    head = head_of(content_type="application/json", **given)
    return await exchange(gateway, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(CONTENT), CONTENT))
