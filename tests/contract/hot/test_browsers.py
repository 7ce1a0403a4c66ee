"""Pages in browsers: those of this machine may ask, others may not, whatever trick they use."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator

import pytest

from tests.contract.hot.asking import (
    CHAT,
    CLIENT_KEY,
    body_for,
    error_of,
    exchange,
    head_of,
    parsed,
    post,
    request_of,
)
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend, faults

CONTENT = json.dumps(body_for(CHAT)).encode()
ALLOWED = [
    "http://localhost",
    "http://localhost:3000",
    "https://localhost:8443",
    "http://127.0.0.1:5173",
    "http://[::1]:3000",
    "app://obsidian.md",
    "tauri://localhost",
    "vscode-webview://abc",
    "HTTP://LocalHost:3000",
]
FORBIDDEN = [
    "https://evil.test",
    "http://localhost.evil.test",
    "http://evil.test:3000",
    "http://127.0.0.1.evil.test",
    "https://evil.test/#http://localhost",
    "null",
    "file://",
    "http://192.168.1.7",
    "",
    "http://localhost:3000, https://evil.test",
    "http://localhost:80@evil.test",
    "http://127.0.0.1:1.evil.test",
]


@pytest.mark.parametrize("origin", ALLOWED)
async def test_a_page_of_this_machine_may_ask_and_read(
    gateway: RunningGateway, backend: ScriptedBackend, origin: str
) -> None:
    preflight = parsed(
        await exchange(
            gateway,
            head_of(
                "OPTIONS",
                origin=origin,
                access_control_request_method="POST",
                access_control_request_headers="authorization,x-stainless-os",
            ),
        )
    )
    assert preflight.status_code == 204
    assert preflight.body == b""
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
    assert int(preflight.headers["access-control-max-age"]) > 0
    assert not backend.generations
    bodies = (CONTENT, b"{")
    asked = [await exchange(gateway, request_of(body, origin=origin)) for body in bodies]
    answers = [preflight, *map(parsed, asked)]
    assert [answer.status_code for answer in answers] == [204, 200, 400]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["vary"].lower() == "origin"
        assert "access-control-allow-credentials" not in answer.headers
        assert "x-nexus-backend" in answer.headers["access-control-expose-headers"]
        assert not answer.twice, "browsers refuse a CORS header that comes twice"


@pytest.mark.parametrize("stream", [False, True])
async def test_so_it_may_when_the_backend_fails(
    gateway: RunningGateway, backend: ScriptedBackend, stream: bool
) -> None:
    backend.behave(faults.status(500))
    headers = {"origin": "http://localhost:3000"}
    answer = await post(gateway, body_for(CHAT, stream=stream), headers=headers)
    assert answer.status_code == 500
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("origin", FORBIDDEN)
@pytest.mark.parametrize("method", ["OPTIONS", "POST", "GET"])
async def test_another_page_may_not_whatever_its_method(
    gateway: RunningGateway, backend: ScriptedBackend, origin: str, method: str
) -> None:
    """A simple POST of text needs no preflight: it is stopped by its `Origin`."""
    head = head_of(method, origin=origin, content_type="text/plain", content_length="2")
    answer = parsed(await exchange(gateway, head, b"{}"))
    error_of(answer, 403, "forbidden")
    assert not {name for name in answer.headers if name.startswith("access-control")}
    assert not backend.generations


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/", "/nexus/v1/state", "/nowhere"])
async def test_nor_on_any_other_route(gateway: RunningGateway, path: str) -> None:
    answer = await gateway.client.get(path, headers={"origin": "https://evil.test"})
    error_of(answer, 403, "forbidden")
    answer = await gateway.client.get(path, headers={"origin": "http://localhost:1"})
    assert answer.headers.get_list("access-control-allow-origin") == ["http://localhost:1"]


@pytest.fixture
async def choosy(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with running_gateway(
        [backend_entry("one", backend.url)],
        server={"allowed_origins": ["https://*.example.test", "http://localhost:3000"]},
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://chat.example.test", 200),
        ("http://localhost:3000", 200),
        ("http://localhost:3001", 403),
        ("http://chat.example.test", 403),
        ("https://chat.example.test.evil.test", 403),
        ("app://obsidian.md", 403),
    ],
)
async def test_a_list_of_ones_own_replaces_the_default(
    choosy: RunningGateway, origin: str, status: int
) -> None:
    answer = await post(choosy, body_for(CHAT), headers={"origin": origin})
    assert answer.status_code == status


HOSTS = [
    "localhost",
    "localhost:8000",
    "LOCALHOST:8000",
    "localhost.",
    "localhost.:8000",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.1.2.3:9",
    "[::1]",
    "[::1]:8000",
    "app.localhost:8000",
    "host.docker.internal:8000",
    "192.168.1.7:8000",
]
STRANGE_HOSTS = [
    "evil.test",
    "evil.test:8000",
    "localhost.evil.test",
    "127.0.0.1.evil.test:8000",
    "localhost:8000.evil.test",
    "evil.test.",
    "8.8.8.8:8000",
    "[2001:4860:4860::8888]:8000",
    "localhost@evil.test",
    "notlocalhost",
    ".",
]


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("target", [CHAT, "/health"])
async def test_names_of_this_machine_are_good(
    gateway: RunningGateway, host: str, target: str
) -> None:
    method = "POST" if target == CHAT else "GET"
    length = str(len(CONTENT)) if target == CHAT else "0"
    head = head_of(
        method, target, host=host, content_type="application/json", content_length=length
    )
    sent = head + (CONTENT if target == CHAT else b"")
    assert parsed(await exchange(gateway, sent)).status_code == 200


@pytest.mark.parametrize("host", STRANGE_HOSTS)
@pytest.mark.parametrize("target", [CHAT, "/health", "/v1/models", "/nexus/v1/state"])
async def test_a_name_that_was_rebound_to_us_is_refused(
    gateway: RunningGateway, backend: ScriptedBackend, host: str, target: str
) -> None:
    method = "POST" if target == CHAT else "GET"
    head = head_of(method, target, host=host, content_type="application/json", content_length="2")
    error_of(parsed(await exchange(gateway, head, b"{}")), 403, "forbidden")
    assert not backend.generations


async def test_a_cross_site_page_may_not_manage(gateway: RunningGateway) -> None:
    for path in ("/nexus/v1/state", "/nexus/v1/commands/backend.drain"):
        for method in ("GET", "POST"):
            answer = await gateway.client.request(
                method, path, headers={"sec-fetch-site": "cross-site"}, json={}
            )
            error_of(answer, 403, "forbidden")
    answer = await gateway.client.get("/nexus/v1/state", headers={"sec-fetch-site": "same-origin"})
    assert answer.status_code == 200


async def test_a_node_program_is_no_page(gateway: RunningGateway) -> None:
    """undici sends `Sec-Fetch-Mode: cors` and no `Origin`."""
    headers = {"sec-fetch-mode": "cors", "authorization": f"Bearer {CLIENT_KEY}"}
    assert (await post(gateway, body_for(CHAT), headers=headers)).status_code == 200
    assert (await gateway.client.get("/nexus/v1/state", headers=headers)).status_code == 200


NODE_PROGRAM = """
const [url, body] = process.argv.slice(1);
const headers = { "content-type": "application/json" };
const answer = await fetch(url, { method: "POST", headers, body });
const text = await answer.text();
console.log(JSON.stringify([answer.status, text]));
"""


async def test_a_real_node_program(gateway: RunningGateway, backend: ScriptedBackend) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    command = [node, "--input-type=module", "-e", NODE_PROGRAM]
    asking = await asyncio.create_subprocess_exec(
        *command,
        gateway.url + CHAT,
        json.dumps(body_for(CHAT, stream=True)),
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        told, _ = await asking.communicate()
    status, text = json.loads(told)
    assert (status, text.count("[DONE]")) == (200, 1)
    assert backend.generations[0].header("sec-fetch-mode") is None
