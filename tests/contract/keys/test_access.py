"""Who gets in: with keys configured, holders alone, on every route that clients use."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from nexus_proxy.api.front import Front
from nexus_proxy.config.model import Config, DiscoveryConfig, Loaded, LoggingConfig, ServerConfig
from nexus_proxy.runtime import Runtime
from nexus_proxy.server.gateway import Gateway
from nexus_proxy.telemetry.logs import Logs
from tests.contract.hot.asking import (
    CHAT,
    COMPLETIONS,
    EMBEDDINGS,
    body_for,
    error_of,
    exchange,
    parsed,
    post,
    request_of,
)
from tests.contract.keys.world import OTHER, SECRET, bearer, key_table, keyed
from tests.support.gateway import RunningGateway
from tests.support.scripted import ScriptedBackend

WRONG = [
    {},
    bearer("sk-a-cloud-key-0123456789"),
    bearer(OTHER),
    bearer(SECRET[:-1]),
    {"authorization": f"Basic {SECRET}"},
    {"x-api-key": "x" * 20_000},
]


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m", "other"]) as one:
        yield one


@pytest.fixture
async def gateway(backend: ScriptedBackend) -> AsyncIterator[RunningGateway]:
    async with keyed(backend, key_table()) as running:
        yield running


def sdk(gateway: RunningGateway, secret: str = SECRET) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0)


@pytest.mark.parametrize("headers", WRONG)
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, EMBEDDINGS])
async def test_hot_routes_refuse_strangers(
    gateway: RunningGateway, backend: ScriptedBackend, path: str, headers: dict[str, str]
) -> None:
    answer = await post(gateway, body_for(path), path, headers)
    error = error_of(answer, 401, "invalid_api_key")
    assert "nexus keys create" in error["message"]
    for value in headers.values():
        assert value.rpartition(" ")[2] not in answer.text
    assert not backend.generations


async def test_ollamas_clients_are_told_in_their_own_form(gateway: RunningGateway) -> None:
    for headers in WRONG[:3]:
        answer = await gateway.client.get("/api/tags", headers=headers)
        assert answer.status_code == 401
        assert list(answer.json()) == ["error"]
        assert "nexus keys create" in answer.json()["error"]
    assert (await gateway.client.get("/api/tags", headers=bearer())).status_code == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/v1/nothing"])
async def test_so_do_all_other_routes_of_clients(gateway: RunningGateway, path: str) -> None:
    for headers in WRONG[:3]:
        error_of(await gateway.client.get(path, headers=headers), 401, "invalid_api_key")
    assert (await gateway.client.get(path, headers=bearer())).status_code in (200, 404)


async def test_health_and_management_keep_their_own_rules(gateway: RunningGateway) -> None:
    for path in ("/", "/health", "/health/live", "/health/ready", "/nexus/v1/state"):
        assert (await gateway.client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        bearer(),
        {"authorization": f"BEARER {SECRET}"},
        {"x-api-key": SECRET},
        {"api-key": SECRET},
        {**bearer("sk-cloud"), "x-api-key": SECRET},
    ],
)
async def test_a_key_opens_by_any_header(
    gateway: RunningGateway, backend: ScriptedBackend, headers: dict[str, str]
) -> None:
    answer = await post(gateway, body_for(CHAT), headers=headers)
    assert answer.status_code == 200
    assert SECRET not in repr([request.headers for request in backend.requests])


@pytest.mark.parametrize("value", ["B\xe9arer \xff", "\xff" * 300, "Bearer", ""])
async def test_headers_that_are_no_text_are_a_wrong_key(
    gateway: RunningGateway, value: str
) -> None:
    raw = request_of(b'{"model":"m","messages":[]}')
    line = f"Authorization: {value}\r\n".encode("latin-1")
    told = await exchange(gateway, raw.replace(b"Host:", line + b"Host:", 1))
    error_of(parsed(told), 401, "invalid_api_key")


async def test_the_sdk_raises_what_it_has_for_each(backend: ScriptedBackend) -> None:
    tables = [key_table(models=["m"], requests_per_minute=1)]
    async with keyed(backend, *tables) as gateway:
        async with sdk(gateway, "sk-none") as stranger:
            with pytest.raises(openai.AuthenticationError) as refused:
                await stranger.models.list()
            assert refused.value.code == "invalid_api_key"
        async with sdk(gateway) as holder:
            with pytest.raises(openai.PermissionDeniedError) as denied:
                await holder.chat.completions.create(
                    model="other", messages=[{"role": "user", "content": "hi"}]
                )
            assert (denied.value.code, denied.value.param) == ("model_not_allowed", "model")
            assert "'ci'" in denied.value.message
            await holder.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hi"}]
            )
            with pytest.raises(openai.RateLimitError) as limited:
                await holder.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": "hi"}]
                )
            assert limited.value.code == "rate_limit_exceeded"


async def test_models_are_those_that_the_key_may_use(backend: ScriptedBackend) -> None:
    keys = [key_table(models=["m"]), key_table("aliased", OTHER, models=["n"])]
    async with keyed(backend, *keys) as gateway:
        names = []
        for secret in (SECRET, OTHER):
            async with sdk(gateway, secret) as holder:
                names.append([model.id async for model in holder.models.list()])
        assert names == [["m", "n"], ["n"]]
        hidden = await gateway.client.get("/v1/models/other", headers=bearer())
        error_of(hidden, 403, "model_not_allowed")
        assert (await post(gateway, body_for(CHAT, "n"), headers=bearer())).status_code == 200
        assert (await post(gateway, body_for(CHAT, "n"), headers=bearer(OTHER))).status_code == 200
        straight = await post(gateway, body_for(CHAT, "m"), headers=bearer(OTHER))
        error_of(straight, 403, "model_not_allowed")
        everything = (await gateway.client.get("/nexus/v1/models")).json()
        assert [model["id"] for model in everything["data"]] == ["m", "n", "other"]


async def test_nor_are_tokens_counted_for_a_model_that_the_key_may_not_use(
    backend: ScriptedBackend,
) -> None:
    async with keyed(backend, key_table(models=["m"])) as gateway:
        for model, status in (("m", 200), ("n", 200), ("other", 403)):
            body = body_for(CHAT, model)
            answer = await post(gateway, body, "/v1/messages/count_tokens", bearer())
            assert answer.status_code == status
        assert answer.json()["error"]["type"] == "permission_error"


async def test_the_name_of_a_backend_opens_no_model(backend: ScriptedBackend) -> None:
    async with keyed(backend, key_table(models=["one*"])) as gateway:
        forced = await post(gateway, body_for(CHAT, "one/m"), headers=bearer())
        error_of(forced, 403, "model_not_allowed")
    async with keyed(backend, key_table(models=["m"])) as gateway:
        forced = await post(gateway, body_for(CHAT, "one/m"), headers=bearer())
        assert forced.status_code == 200


async def test_the_keys_zone_holds_whatever_the_header_says(backend: ScriptedBackend) -> None:
    async with keyed(backend, key_table(zone="restricted")) as gateway:
        gateway.runtime.registry.set_zone("one", gateway.runtime.registry.get("one").zone.INTERNAL)
        for zone in ({}, {"x-nexus-zone": "open"}):
            answer = await post(gateway, body_for(CHAT), headers={**bearer(), **zone})
            error_of(answer, 503, "no_available_backend")
    assert not backend.generations


async def test_a_gateway_for_other_machines_lets_nobody_in_when_its_last_key_is_gone() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    config = Config(server=ServerConfig(host="0.0.0.0"), discovery=DiscoveryConfig(enabled=False))
    logs = Logs(LoggingConfig(), secrets=[], to_stderr=False)
    runtime = Runtime(Loaded(config=config), logs=logs, environ={}, endpoint=url)
    gateway = Gateway(runtime, Front(runtime, loopback=False), sock)
    await gateway.start()
    try:
        async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
            assert (await client.post(CHAT, json=body_for(CHAT))).status_code == 401
            assert (await client.get("/v1/models")).status_code == 401
            assert (await client.get("/health")).status_code == 200
    finally:
        await gateway.stop()
