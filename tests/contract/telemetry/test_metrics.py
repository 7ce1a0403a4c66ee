"""`/metrics` as Prometheus meets it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from nexus_proxy.admission.keys import hash_of
from nexus_proxy.routing import STAGES
from tests.contract.api.test_access import KEY, open_gateway
from tests.contract.hot.asking import CHAT, body_for, post
from tests.contract.workers.conftest import backend, config
from tests.contract.workers.running import PATIENCE, Workers, chat, two_workers, until
from tests.support.gateway import backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

__all__ = ["backend", "config"]
README = (Path(__file__).resolve().parents[3] / "README.md").read_text()
PATHS = ("/metrics", "/v1/stats", "/v1/history")


def families(page: str) -> dict[str, str]:
    """The help of each family, by the name of its samples without a histogram's endings."""
    found = {}
    for family in text_string_to_metric_families(page):
        found[family.name + ("_total" if family.type == "counter" else "")] = family.documentation
    return found


async def test_each_metric_explains_itself_and_is_in_the_readme_and_none_else_is() -> None:
    async with running_gateway() as gateway:
        page = (await gateway.client.get("/metrics")).text
    told = families(page)
    assert all(told.values())
    own = {name for name in told if name.startswith("nexus_")}
    in_readme = set(re.findall(r"`(nexus_(?!proxy|tui)[a-z_]+)`", README))
    assert own == in_readme
    assert {name for name in told if name not in own} <= {
        f"process_{name}" for name in re.findall(r"`process_([a-z_]+)`", README)
    }


async def test_hostile_names_break_no_line_and_what_clients_make_up_is_no_label() -> None:
    nasty = 'a"b\\c{d="e"} 1 # nexus_fake 1'
    async with (
        ScriptedBackend([nasty]) as one,
        running_gateway([backend_entry("one", one.url)]) as gateway,
    ):
        assert (await post(gateway, body_for(CHAT, nasty))).status_code == 200
        for number in range(30):
            await post(gateway, body_for(CHAT, f"made-up-{number}"))
        page = (await gateway.client.get("/metrics")).text
    found = {
        sample.labels["model"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "nexus_requests_total"
    }
    assert found == {nasty: 1, "unknown": 30}
    assert "nexus_fake" not in families(page)
    assert "made-up" not in page


async def test_openmetrics_is_spoken_to_those_who_ask_for_it() -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    async with running_gateway() as gateway:
        answer = await gateway.client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert list(openmetrics.text_string_to_metric_families(answer.text))  # type: ignore[no-untyped-call]


async def test_what_is_refused_before_it_is_routed_is_counted_and_nowhere_else() -> None:
    keys = [{"name": "ci", "hash": hash_of("nxs-secret")}]
    key, json_ = {"authorization": "Bearer nxs-secret"}, {"content-type": "application/json"}
    async with running_gateway(keys=keys, server={"max_body_mb": 0.01}) as gateway:

        async def ask(path: str, **headers: str) -> int:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await gateway.client.post(path, content=b"x" * size, headers=headers)
            return answer.status_code

        size = 10
        assert await ask(CHAT, **json_) == 401
        assert await ask(CHAT, **json_, **key, origin="https://evil.example") == 403
        assert await ask("/v1/messages", **key, content_type="text/html") == 415
        assert await ask("/v1/nothing", **json_, **key) == 404
        assert await ask("/nexus/v1/route", sec_fetch_site="cross-site") == 403
        assert await ask(CHAT, **json_, **key) == 400
        size = 11_000
        assert await ask(CHAT, **json_, **key) == 413
        assert await ask("/v1/nothing", **json_, **key) == 413
        page = (await gateway.client.get("/metrics")).text
        stats = (await gateway.client.get("/v1/stats")).json()
    refused = {
        (sample.labels["kind"], sample.labels["endpoint"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "nexus_refused_total"
    }
    assert refused == {
        ("invalid_api_key", "chat"): 1,
        ("forbidden", "chat"): 1,
        ("unsupported_media_type", "messages"): 1,
        ("unknown_route", "other"): 1,
        ("forbidden", "management"): 1,
        ("request_too_large", "chat"): 1,
        ("request_too_large", "other"): 1,
    }
    assert stats["total"]["errors"] == {"invalid_request": 1}, "what is no JSON was looked at"
    assert sum(stats["refused"].values()) == 7
    assert stats["refused"]["request_too_large"] == 2


async def test_stages_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nexus_proxy.relay.reading.EACH", 2)
    async with (
        ScriptedBackend(["m"]) as one,
        running_gateway([backend_entry("one", one.url)]) as gateway,
    ):
        for _ in range(4):
            assert (await post(gateway, body_for(CHAT))).status_code == 200
        page = (await gateway.client.get("/metrics")).text
    counts = dict(re.findall(r'^nexus_stage_seconds_count\{stage="(.*)"\} (\S+)$', page, re.M))
    assert counts == {stage.name: "2.0" for stage in STAGES}


@pytest.mark.parametrize("path", PATHS)
async def test_other_machines_need_the_management_key(path: str) -> None:
    environ = {"MANAGEMENT": KEY}
    async with open_gateway(environ, key_env="MANAGEMENT") as client:
        assert (await client.get(path)).status_code == 401
        answer = await client.get(path, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status_code == 200


@pytest.mark.parametrize("path", PATHS)
async def test_other_sites_pages_may_not_look(path: str) -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get(path, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


async def test_workers_add_up_whichever_is_scraped(config: str) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        for number, client in clients.items():
            for _ in range(number + 1):
                assert (await chat(client)).status_code == 200
            assert (await client.get("/v1/nothing")).status_code == 404
        for client in clients.values():
            page = (await client.get("/metrics")).text
            (count,) = re.findall(r"^nexus_requests_total\{.*\} (\S+)$", page, re.M)
            assert float(count) == 3
            stats = (await client.get("/v1/stats")).json()
            assert stats["total"]["requests"] == 3
            assert stats["refused"] == {"unknown_route": 2}
            assert stats["by_backend"]["one"]["mean_duration_ms"] > 0
            assert len((await client.get("/v1/history")).json()["requests"]) == 3


async def test_the_sums_survive_a_worker(config: str) -> None:
    async with two_workers(config) as workers:
        async with workers.connected() as clients:
            for client in clients.values():
                assert (await chat(client)).status_code == 200
            assert await requests_counted(clients[0]) == 2
        killed = workers.pids()[1]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: replaced(workers, killed))
        async with workers.connected() as clients:
            assert (await chat(clients[1])).status_code == 200
            for client in clients.values():
                assert await requests_counted(client) == 3


async def replaced(workers: Workers, killed: int) -> bool:
    return workers.pids().get(1, killed) != killed


async def requests_counted(client: httpx.AsyncClient) -> float:
    """As soon as all workers answer; until then the scrape is refused."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await client.get("/metrics")).status_code == 503:
            assert answer.json()["error"]["code"] == "worker_away"
    assert answer.status_code == 200
    found = re.findall(r"^nexus_requests_total\{.*\} (\S+)$", answer.text, re.M)
    return sum(map(float, found))
