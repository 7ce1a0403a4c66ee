"""`/health*` and `/` for people, load balancers and container runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nexus_proxy import __version__
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

NOBODY = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


async def health(gateway: RunningGateway) -> dict[str, Any]:
    answer = await gateway.client.get("/health")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def test_all_up_is_healthy_and_ready() -> None:
    async with (
        ScriptedBackend(["m", "n"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        body = await health(gateway)
        ready = await gateway.client.get("/health/ready")
    assert body["status"] == "healthy"
    assert body["version"] == __version__
    assert body["uptime_seconds"] >= 0
    assert body["backends"] == {"total": 1, "healthy": 1, "unhealthy": 0}
    assert body["models"] == {"total": 2}
    assert ready.status_code == 200


async def test_one_of_two_up_is_degraded_and_still_ready() -> None:
    async with ScriptedBackend(["m"]) as backend:
        entries = [backend_entry("one", backend.url), backend_entry("gone", NOBODY)]
        async with running_gateway(entries, wait_up=False) as gateway:
            await gateway.up("one")
            body = await health(gateway)
            ready = await gateway.client.get("/health/ready")
    assert body["status"] == "degraded"
    assert body["backends"] == {"total": 2, "healthy": 1, "unhealthy": 1}
    assert ready.status_code == 200


async def test_a_state_file_that_cannot_be_used_is_degraded(tmp_path: Path) -> None:
    async with ScriptedBackend(["m"]) as backend:
        state = {"path": str(tmp_path)}  # a folder
        async with running_gateway([backend_entry("one", backend.url)], state=state) as gateway:
            assert (await health(gateway))["status"] == "degraded"
            assert (await gateway.client.get("/health/ready")).status_code == 200


async def test_none_up_is_unhealthy_but_answers_200_and_is_alive() -> None:
    async with running_gateway([backend_entry("gone", NOBODY)], wait_up=False) as gateway:
        body = await health(gateway)
        live = await gateway.client.get("/health/live")
        ready = await gateway.client.get("/health/ready")
    assert body["status"] == "unhealthy"
    assert live.status_code == 200
    assert ready.status_code == 503
    assert "no backend is up" in ready.json()["reason"]


async def test_without_backends_it_is_unhealthy_and_says_why_it_is_not_ready() -> None:
    async with running_gateway() as gateway:
        body = await health(gateway)
        ready = await gateway.client.get("/health/ready")
    assert body["status"] == "unhealthy"
    assert "no backend is listed" in ready.json()["reason"]


async def test_a_disabled_backend_does_not_count() -> None:
    async with ScriptedBackend(["m"]) as backend:
        entries = [
            backend_entry("one", backend.url),
            backend_entry("off", NOBODY, enabled=False),
        ]
        async with running_gateway(entries) as gateway:
            body = await health(gateway)
    assert body["status"] == "healthy"
    assert body["backends"]["total"] == 1


async def test_a_drained_backend_is_healthy_but_not_ready() -> None:
    async with ScriptedBackend(["m"]) as backend:
        entry = backend_entry("one", backend.url, drained=True)
        async with running_gateway([entry]) as gateway:
            body = await health(gateway)
            ready = await gateway.client.get("/health/ready")
    assert body["status"] == "healthy"
    assert ready.status_code == 503


async def test_a_draining_gateway_is_not_ready() -> None:
    async with (
        ScriptedBackend(["m"]) as backend,
        running_gateway([backend_entry("one", backend.url)]) as gateway,
    ):
        await gateway.runtime.drain(1)
        ready = await gateway.client.get("/health/ready")
    assert ready.status_code == 503
    assert "stopping" in ready.json()["reason"]


async def test_the_root_says_what_this_is() -> None:
    async with running_gateway() as gateway:
        body = (await gateway.client.get("/", headers={"accept": "application/json"})).json()
    assert body["name"] == "nexus"
    assert body["version"] == __version__
    assert body["endpoint"] == f"{gateway.url}/v1"


async def test_the_root_is_an_ollama_to_whom_asks_for_nothing_else() -> None:
    async with running_gateway() as gateway:
        told = await gateway.client.get("/")
    assert (told.text, told.headers["content-type"]) == (
        "Ollama is running",
        "text/plain; charset=utf-8",
    )


async def test_head_works_wherever_get_does() -> None:
    paths = ["/", "/health", "/health/live", "/v1/models", "/nexus/v1/state", "/nexus/v1/events"]
    async with running_gateway() as gateway:
        answers = [await gateway.client.head(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    assert all(answer.content == b"" for answer in answers)
