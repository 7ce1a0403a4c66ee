"""Who may use the management API."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx
import pytest

from nexus_proxy.admission.keys import hash_of, new_secret
from nexus_proxy.api.front import Front
from nexus_proxy.config.model import (
    Config,
    DiscoveryConfig,
    KeyConfig,
    Loaded,
    LoggingConfig,
    ServerConfig,
)
from nexus_proxy.runtime import Runtime
from nexus_proxy.server.gateway import Gateway
from nexus_proxy.telemetry.logs import Logs
from tests.support.gateway import running_gateway

KEY = "the-management-key"
ELSEWHERE = {"host": "box.lan"}
"""How other machines call this one."""
ROUTES = ["/nexus/v1/state", "/nexus/v1/events", "/nexus/v1/config", "/nexus/v1/nothing"]


@asynccontextmanager
async def open_gateway(
    environ: Mapping[str, str],
    *,
    key_env: str | None,
    keys: Sequence[KeyConfig] = (),
    logging: LoggingConfig | None = None,
) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway that takes itself to be reachable from other machines, and a client on one."""
    server = ServerConfig(management_key_env=key_env, allow_unauthenticated=True)
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    logging = logging or LoggingConfig()
    config = Config(
        server=server,
        discovery=DiscoveryConfig(enabled=False),
        keys=list(keys),
        logging=logging,
    )
    logs = Logs(logging, secrets=[], to_stderr=False)
    runtime = Runtime(Loaded(config=config), logs=logs, environ=environ, endpoint=url)
    gateway = Gateway(runtime, Front(runtime, loopback=False), sock)
    await gateway.start()
    try:
        async with httpx.AsyncClient(base_url=url, headers=ELSEWHERE, trust_env=False) as client:
            yield client
    finally:
        await gateway.stop()


async def test_programs_of_this_machine_need_no_key() -> None:
    async with running_gateway(
        environ={"MANAGEMENT": KEY}, server={"management_key_env": "MANAGEMENT"}
    ) as gateway:
        answer = await gateway.client.get("/nexus/v1/state")
    assert answer.status_code == 200


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-real-ip"])
async def test_a_reverse_proxy_on_this_machine_speaks_for_strangers(header: str) -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get("/nexus/v1/state", headers={header: "203.0.113.9"})
    assert answer.status_code == 401


async def test_off_loopback_without_a_key_set_up_all_is_closed_and_says_how_to_open_it() -> None:
    async with open_gateway({}, key_env=None) as client:
        for route in ROUTES:
            answer = await client.get(route, headers={"authorization": "Bearer anything"})
            assert answer.status_code == 401
            assert "server.management_key_env" in answer.json()["error"]["message"]


async def test_a_variable_that_is_empty_is_no_key() -> None:
    async with open_gateway({"MANAGEMENT": ""}, key_env="MANAGEMENT") as client:
        answer = await client.get("/nexus/v1/state", headers={"authorization": "Bearer"})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY}", 200),
        (f"Basic {KEY}", 401),
        (KEY, 401),
        ("Bearer wrong", 401),
        (f"Bearer {KEY}x", 401),
        (None, 401),
    ],
)
async def test_off_loopback_the_key_opens_it(authorization: str | None, status: int) -> None:
    headers = {"authorization": authorization} if authorization else {}
    async with open_gateway({"MANAGEMENT": KEY}, key_env="MANAGEMENT") as client:
        answer = await client.get("/nexus/v1/state", headers=headers)
    assert answer.status_code == status
    assert KEY not in answer.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "127.0.0.1:8000"}, 200),
        ({"host": "localhost"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "127.0.0.1.evil.example"}, 401),
        ({"host": "192.168.1.2:8000"}, 401),
        ({"host": "localhost", "x-forwarded-for": "203.0.113.9"}, 401),
        ({"host": "localhost", "origin": "http://evil.example"}, 403),
    ],
)
async def test_programs_of_this_machine_need_no_key_where_others_do(
    headers: dict[str, str], status: int
) -> None:
    async with open_gateway({"MANAGEMENT": KEY}, key_env="MANAGEMENT") as client:
        answer = await client.get("/nexus/v1/state", headers=headers)
    assert answer.status_code == status


async def test_what_clients_use_stays_open() -> None:
    async with open_gateway({}, key_env=None) as client:
        for route in ("/", "/health", "/health/live", "/v1/models"):
            assert (await client.get(route)).status_code == 200


async def test_pages_of_other_sites_may_not_manage() -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get(
            "/nexus/v1/state", headers={"sec-fetch-site": "cross-site"}
        )
    assert answer.status_code == 403


WATCHING, PLAIN = new_secret(), new_secret()
KEYS = (
    KeyConfig(name="wall", hash=hash_of(WATCHING), watch=True),
    KeyConfig(name="ci", hash=hash_of(PLAIN)),
)
LOOKS = (
    *("state", "requests", "spend", "queue", "quality", "commands", "keys", "logs", "config"),
    "models",
)
ACTS = (
    ("POST", "/nexus/v1/commands/airplane.on"),
    ("POST", "/nexus/v1/commands/airplane.on/consequence"),
    ("POST", "/nexus/v1/backends/look"),
    ("POST", "/nexus/v1/keys"),
    ("POST", "/nexus/v1/config/reload"),
    ("POST", "/nexus/v1/config/draft"),
    ("POST", "/v1/models/load"),
    ("POST", "/v1/models/migrate"),
    ("DELETE", "/v1/models/m"),
)


async def test_a_key_that_may_watch_sees_all_and_changes_nothing() -> None:
    async with open_gateway({"MANAGEMENT": KEY}, key_env="MANAGEMENT", keys=KEYS) as client:
        client.headers["authorization"] = f"Bearer {WATCHING}"
        for path in (*(f"/nexus/v1/{name}" for name in LOOKS), "/metrics", "/v1/stats", "/"):
            assert (await client.get(path)).status_code == 200, path
        previews = await client.post("/nexus/v1/previews", json={"models": []})
        assert previews.status_code == 200
        for method, path in ACTS:
            answer = await client.request(method, path, json={})
            assert answer.status_code == 403, path
            assert "'wall' may look, and change nothing" in answer.json()["error"]["message"]


async def test_the_state_says_what_the_key_opens() -> None:
    async with open_gateway({"MANAGEMENT": KEY}, key_env="MANAGEMENT", keys=KEYS) as client:
        for secret, access in ((WATCHING, "read-only"), (KEY, "full")):
            headers = {"authorization": f"Bearer {secret}"}
            answer = await client.get("/nexus/v1/state", headers=headers)
            assert answer.headers["x-nexus-access"] == access


async def test_other_api_keys_see_nothing_and_are_told_of_those_that_do() -> None:
    async with open_gateway({"MANAGEMENT": KEY}, key_env="MANAGEMENT", keys=KEYS) as client:
        headers = {"authorization": f"Bearer {PLAIN}"}
        answer = await client.get("/nexus/v1/state", headers=headers)
    assert answer.status_code == 401
    assert "watch = true" in answer.json()["error"]["message"]


async def test_who_watches_does_not_read_prompts_that_the_owner_logs() -> None:
    logging = LoggingConfig(enable_content_logging=True)
    async with open_gateway({}, key_env=None, keys=KEYS, logging=logging) as client:
        headers = {"authorization": f"Bearer {WATCHING}"}
        answer = await client.get("/nexus/v1/logs", headers=headers)
    assert answer.status_code == 403
    assert "logging.enable_content_logging" in answer.json()["error"]["message"]
