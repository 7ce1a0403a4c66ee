"""Bodies that are too large, lie about their length, or never end."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import shutil
import socket
from collections.abc import AsyncIterator
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
    post,
    request_of,
)
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

MIB = 2**20


@pytest.fixture
async def small(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    """Takes bodies up to 1 MiB."""
    async with running_gateway(
        [backend_entry("one", backend.url)], server={"max_body_mb": 1}
    ) as running:
        yield running


def padded(size: int) -> bytes:
    body = json.dumps(body_for(CHAT)).encode()
    return body[:-1] + b" " * (size - len(body)) + b"}"


async def test_the_limit_is_exact(small: RunningGateway, backend: ScriptedBackend) -> None:
    assert (await post(small, padded(MIB))).status_code == 200
    assert len(backend.generations[0].body) == MIB
    error = error_of(await post(small, padded(MIB + 1)), 413, "request_too_large")
    assert "1 MiB" in error["message"]
    assert "server.max_body_mb" in error["message"]


def rss_bytes() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


async def test_100_mib_is_413_in_json_for_a_client_that_writes_first(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    """A blocking client: it hears nothing before its last byte is out."""
    size = 100 * MIB
    before = rss_bytes()
    peak = 0

    def write_then_read() -> bytes:
        nonlocal peak
        host, port = gateway.url.removeprefix("http://").split(":")
        piece = b" " * MIB
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(head_of(content_type="application/json", content_length=str(size)))
            for _ in range(100):
                client.sendall(piece)
                peak = max(peak, rss_bytes() - before)
            answer = b""
            while data := client.recv(65536):
                answer += data
            return answer

    answer = parsed(await asyncio.to_thread(write_then_read))
    error_of(answer, 413, "request_too_large")
    assert not backend.generations
    assert peak < 100 * MIB, "the body is dropped once it is too large"


@pytest.mark.parametrize("expect", [True, False])
async def test_100_mib_from_curl(gateway: RunningGateway, tmp_path: Path, expect: bool) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "curl is what half of all users try first"
    body = tmp_path / "body"
    with body.open("wb") as file:
        file.truncate(100 * MIB)
    headers = ["-H", "content-type: application/json", *([] if expect else ["-H", "expect:"])]
    asking = await asyncio.create_subprocess_exec(
        *(curl, "-sS", "-m", "30", "--noproxy", "*", "-w", "\n%{http_code}", *headers),
        *("--data-binary", f"@{body}", gateway.url + CHAT),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asking.communicate()
    said, status = out.rsplit(b"\n", 1)
    assert (asking.returncode, status) == (0, b"413")
    assert json.loads(said)["error"]["code"] == "request_too_large"


@pytest.mark.parametrize(
    ("given", "status", "code"),
    [
        ({"method": "PUT"}, 405, "method_not_allowed"),
        ({"content_type": "multipart/form-data"}, 415, "unsupported_media_type"),
        ({"origin": "https://evil.test"}, 403, "forbidden"),
        ({"host": "evil.test"}, 403, "forbidden"),
    ],
)
async def test_other_refusals_reach_a_client_that_writes_first(
    gateway: RunningGateway, given: dict[str, Any], status: int, code: str
) -> None:
    size = 8 * MIB
    head = head_of(**{"content_type": "application/json", "content_length": str(size), **given})
    answer = parsed(await exchange(gateway, head, *[b" " * MIB] * 8))
    error_of(answer, status, code)


async def test_a_refusal_waits_for_a_body_that_comes_later(gateway: RunningGateway) -> None:
    """Most clients send head and body in two writes; closing in between would reset them."""
    content = json.dumps(body_for(CHAT)).encode()
    host, port = gateway.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = head_of("PUT", content_type="application/json", content_length=str(len(content)))
    writer.write(head.replace(b"Connection: close\r\n", b""))
    await writer.drain()
    # Nothing marks that the head was read: the pause makes it likely, the test holds without.
    await asyncio.sleep(0.05)
    writer.write(content + request_of(content))
    async with asyncio.timeout(5.0):
        both = await reader.read(-1)
    writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", both) == [b"405", b"200"]


async def test_a_gzip_bomb_is_stopped_at_the_limit(
    small: RunningGateway, backend: ScriptedBackend
) -> None:
    bomb = gzip.compress(b" " * (200 * MIB), compresslevel=6)
    assert len(bomb) < MIB
    before = rss_bytes()
    answer = await post(small, bomb, headers={"content-encoding": "gzip"})
    error = error_of(answer, 413, "request_too_large")
    assert "inflates" in error["message"]
    assert rss_bytes() - before < 100 * MIB
    assert not backend.generations


@pytest.mark.parametrize("framing", ["content_length", "transfer_encoding"])
async def test_a_body_that_stops_coming_ends_in_a_timeout(
    backend: ScriptedBackend, monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    monkeypatch.setattr("nexus_proxy.api.hot.STALL_SECONDS", 0.2)
    monkeypatch.setattr("nexus_proxy.server.lane.STALL_SECONDS", 0.2)
    monkeypatch.setattr("nexus_proxy.server.lane.SWEEP_SECONDS", 0.1)
    given: dict[str, Any] = {"content_length": "100", "transfer_encoding": "chunked"}
    head = head_of(close=False, content_type="application/json", **{framing: given[framing]})
    async with running_gateway([backend_entry("one", backend.url)]) as gateway:
        answer = parsed(await exchange(gateway, head, b'5\r\n{"mod\r\n'))
        error_of(answer, 408, "request_timeout")
        assert not backend.generations
        assert gateway.runtime.history.in_flight == 0


async def test_a_body_longer_than_promised_is_cut_where_it_was_promised_to_end(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    content = json.dumps(body_for(CHAT)).encode()
    asked = request_of(content + b"GARBAGE", content_length=str(len(content)))
    raw = await exchange(gateway, asked)
    assert raw.startswith(b"HTTP/1.1 200")
    assert backend.generations[0].body == content


@pytest.mark.parametrize("length", ["-1", "abc", "1e3", "99999999999999999999999", "5, 6"])
async def test_a_length_that_is_none_is_refused(
    gateway: RunningGateway, backend: ScriptedBackend, length: str
) -> None:
    raw = await exchange(gateway, request_of(b"{}", content_length=length), end=True)
    assert raw.startswith(b"HTTP/1.1 4") or raw == b""
    assert not backend.generations


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(
    gateway: RunningGateway, backend: ScriptedBackend
) -> None:
    host, port = gateway.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_of(b'{"model":', content_length="1000"))
    await writer.drain()
    writer.transport.abort()
    assert (await post(gateway, body_for(CHAT))).status_code == 200
    assert len(backend.generations) == 1
    assert gateway.runtime.history.in_flight == 0
