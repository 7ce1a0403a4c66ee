"""Loading, unloading and moving models over HTTP, with traffic on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from nexus_proxy.events import Event, OperationChanged
from nexus_proxy.tasks import spawn
from tests.contract.hot.asking import CHAT, body_for, error_of
from tests.support import shelves
from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import Answer, ScriptedBackend
from tests.support.shelves import GB, Shelf

OPERATIONS = "/v1/lifecycle/operations"
PATIENT = {"interval_seconds": 0.2, "timeout_seconds": 20.0}
"""Checks that a busy machine does not fail."""
PACE = 0.02


@asynccontextmanager
async def ollamas(
    **shelves_by_name: Shelf,
) -> AsyncIterator[tuple[RunningGateway, dict[str, ScriptedBackend]]]:
    servers = {name: shelves.ollama(shelf) for name, shelf in shelves_by_name.items()}
    async with running_servers("ollama", servers) as gateway:
        yield gateway, servers


@asynccontextmanager
async def running_servers(
    type_: str, servers: dict[str, ScriptedBackend], **tables: Any
) -> AsyncIterator[RunningGateway]:
    async with asyncio.TaskGroup() as group:
        for server in servers.values():
            group.create_task(server.__aenter__())
    try:
        entries = [backend_entry(name, one.url, type=type_) for name, one in servers.items()]
        async with running_gateway(entries, health_check=PATIENT, **tables) as gateway:
            yield gateway
    finally:
        for server in servers.values():
            await server.__aexit__(None, None, None)


async def begin(gateway: RunningGateway, model: str, backend: str) -> dict[str, Any]:
    answer = await gateway.client.post(
        "/v1/models/load", json={"model_id": model, "backend_id": backend}
    )
    assert answer.status_code == 202, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def unload(gateway: RunningGateway, model: str, backend: str) -> httpx.Response:
    return await gateway.client.delete(f"/v1/models/{model}", params={"backend_id": backend})


async def ended(gateway: RunningGateway, id_: str) -> dict[str, Any]:
    """The operation, once it is over."""
    lifecycle = gateway.runtime.lifecycle
    await gateway.until(lambda: any(v.id == id_ and v.is_over for v in lifecycle.views()))
    told = (await gateway.client.get(OPERATIONS)).json()["operations"]
    return next(one for one in told if one["operation_id"] == id_)


def sentences(gateway: RunningGateway) -> list[str]:
    """What is told of operations from now on."""
    heard: list[str] = []

    def hear(event: Event) -> None:
        if isinstance(event, OperationChanged):
            heard.append(event.what)

    gateway.runtime.bus.subscribe(hear)
    return heard


def chatting(gateway: RunningGateway, model: str = "a") -> asyncio.Task[httpx.Response]:
    body = {**body_for(CHAT), "model": model}
    return spawn(gateway.client.post(CHAT, json=body), name="client")


async def test_a_load_is_told_and_ends_with_the_model_loaded() -> None:
    shelf = Shelf("a")
    async with ollamas(box=shelf) as (gateway, _):
        shelf.open.clear()
        heard = sentences(gateway)
        told = await begin(gateway, "a", "box")
        assert (told["status"], told["type"], told["phase"]) == ("in_progress", "load", "loading")
        assert told["progress"] is None
        running = (await gateway.client.get(OPERATIONS)).json()["operations"]
        assert [one["operation_id"] for one in running] == [told["operation_id"]]
        shelf.open.set()
        over = await ended(gateway, told["operation_id"])
        assert (over["status"], over["progress"], over["error"]) == ("completed", 1.0, None)
        assert heard == ["loading a on box", over["message"]], "each once"
        assert gateway.runtime.registry.get("box").models["a"].loaded is True
        again = await begin(gateway, "a", "box")
        assert (await ended(gateway, again["operation_id"]))["status"] == "completed"
        assert again["eta_seconds"] is not None
    assert shelf.done == ["load a"]


async def test_two_who_ask_share_one_load_and_it_outlives_both() -> None:
    shelf = Shelf("a")
    async with ollamas(box=shelf) as (gateway, _):
        shelf.open.clear()
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as leaving:
            asked = {"model_id": "a", "backend_id": "box"}
            first = (await leaving.post("/v1/models/load", json=asked)).json()
        second = await begin(gateway, "a", "box")
        assert second["operation_id"] == first["operation_id"]
        refused = await unload(gateway, "a", "box")
        assert first["operation_id"] in error_of(refused, 409, "command_refused")["message"]
        shelf.open.set()
        assert (await ended(gateway, first["operation_id"]))["status"] == "completed"
    assert shelf.done == ["load a"]


async def test_requests_for_a_loading_model_wait_for_it_past_the_queues_patience() -> None:
    shelf = Shelf("a")
    servers = {"box": shelves.ollama(shelf)}
    queue = {"max_wait_seconds": 0.1}
    async with running_servers("ollama", servers, queue=queue) as gateway:
        shelf.open.clear()
        told = await begin(gateway, "a", "box")
        await gateway.until(lambda: bool(gateway.runtime.registry.get("box").claims))
        client, admission = chatting(gateway), gateway.runtime.admission
        await gateway.until(lambda: bool(admission.waiting()))
        (view,) = admission.waiting()
        assert [one.why for one in view.waits_for] == ["a is being loaded"]
        with pytest.raises(TimeoutError):  # it has lost patience by now, were it a slot
            async with asyncio.timeout(0.4):
                await asyncio.shield(client)
        shelf.open.set()
        answer = await client
        assert answer.status_code == 200, answer.text
        assert (await ended(gateway, told["operation_id"]))["status"] == "completed"


async def test_who_waits_for_a_load_that_fails_is_served_or_told_so() -> None:
    shelf = Shelf("a")
    async with ollamas(box=shelf) as (gateway, _):
        shelf.open.clear()
        shelf.refusal = "model requires more system memory"
        told = await begin(gateway, "a", "box")
        over = await ended(gateway, told["operation_id"])
        assert (over["status"], over["error"]) == ("failed", shelf.refusal)
        assert (await chatting(gateway)).status_code == 200
        assert not gateway.runtime.registry.get("box").claims


async def test_an_unload_waits_for_what_runs_and_new_requests_go_elsewhere() -> None:
    left, right = Shelf("a", loaded=("a",)), Shelf("a", loaded=("a",))
    async with ollamas(left=left, right=right) as (gateway, servers):
        gateway.runtime.registry.pin("a", "left")
        servers["left"].behave(Answer(hold_before="headers"), times=1)
        client = chatting(gateway)
        await servers["left"].until(lambda: servers["left"].in_flight == 1)
        told = (await unload(gateway, "a", "left")).json()
        await gateway.until(lambda: bool(gateway.runtime.lifecycle.views()[0].waits_for))
        assert left.done == []
        elsewhere = await chatting(gateway)
        assert elsewhere.headers["x-nexus-backend"] == "right"
        servers["left"].release()
        assert (await client).headers["x-nexus-backend"] == "left"
        assert (await ended(gateway, told["operation_id"]))["status"] == "completed"
        assert left.done == ["unload a"]
        after = await chatting(gateway)
        assert after.headers["x-nexus-backend"] == "right", "else it would be loaded again"


async def test_what_nobody_else_has_waits_for_the_unload_and_is_served_after_it() -> None:
    shelf = Shelf("a", loaded=("a",))
    async with ollamas(box=shelf) as (gateway, servers):
        box = servers["box"]
        box.behave(Answer(hold_before="headers"), times=1)
        first = chatting(gateway)
        await box.until(lambda: box.in_flight == 1)
        told = (await unload(gateway, "a", "box")).json()
        await gateway.until(lambda: bool(gateway.runtime.lifecycle.views()[0].waits_for))
        second = chatting(gateway)
        await gateway.until(lambda: bool(gateway.runtime.admission.waiting()))
        box.release()
        assert [(await one).status_code for one in (first, second)] == [200, 200]
        assert (await ended(gateway, told["operation_id"]))["status"] == "completed"


async def test_requests_that_do_not_finish_keep_the_model_loaded() -> None:
    shelf = Shelf("a", loaded=("a",))
    servers = {"box": shelves.ollama(shelf)}
    async with running_servers("ollama", servers, lifecycle={"timeout_ms": 1000}) as gateway:
        box = servers["box"]
        box.behave(Answer(hold_before="headers"), times=1)
        client = chatting(gateway)
        await box.until(lambda: box.in_flight == 1)
        told = (await unload(gateway, "a", "box")).json()
        over = await ended(gateway, told["operation_id"])
        assert over["status"] == "failed"
        assert "requests on box did not finish" in over["error"]
        box.release()
        assert (await client).status_code == 200
    assert shelf.done == []


async def test_a_move_drops_no_request_and_takes_the_pin_along() -> None:
    left, right = Shelf("a", loaded=("a",)), Shelf("a")
    async with ollamas(left=left, right=right) as (gateway, _):
        gateway.runtime.registry.pin("a", "left")
        answers: list[httpx.Response] = []
        over = asyncio.Event()

        async def keep_asking() -> None:
            while not over.is_set():
                answers.append(await chatting(gateway))
                await asyncio.sleep(PACE)  # it shares a core with gateway and backends

        asking = [spawn(keep_asking(), name="load") for _ in range(4)]
        places = {"source_backend_id": "left", "target_backend_id": "right"}
        told = await gateway.client.post("/v1/models/migrate", json={"model_id": "a", **places})
        moved = await ended(gateway, told.json()["operation_id"])
        last = await chatting(gateway)
        over.set()
        await asyncio.gather(*asking)
        assert moved["status"] == "completed", moved
        assert [answer.text for answer in answers if answer.status_code != 200] == []
        assert last.headers["x-nexus-backend"] == "right"
        assert gateway.runtime.registry.pins == {"a": "right"}
    assert (left.done, right.done) == (["unload a"], ["load a"])


async def test_a_router_is_drained_before_a_load_that_would_kill_what_runs() -> None:
    shelf = Shelf("a", "b", loaded=("a",))
    servers = {"box": shelves.router(shelf, most=1)}
    async with running_servers("llamacpp", servers) as gateway:
        box = servers["box"]
        box.behave(Answer(hold_before="headers"), times=1)
        first = chatting(gateway, "a")
        await box.until(lambda: box.in_flight == 1)
        told = await begin(gateway, "b", "box")
        await gateway.until(lambda: bool(gateway.runtime.lifecycle.views()[0].waits_for))
        second = chatting(gateway, "a")
        await gateway.until(lambda: bool(gateway.runtime.admission.waiting()))
        (view,) = gateway.runtime.admission.waiting()
        assert [one.why for one in view.waits_for] == ["swap: b is being loaded"]
        assert shelf.done == []
        box.release()
        assert (await ended(gateway, told["operation_id"]))["status"] == "completed"
        assert [(await one).status_code for one in (first, second)] == [200, 200]


async def test_a_sleeping_vllm_gets_requests_once_it_is_woken() -> None:
    shelf = Shelf("a")
    servers = {"box": shelves.vllm(shelf)}
    async with running_servers("vllm", servers) as gateway:
        refused = await chatting(gateway)
        context = error_of(refused, 503, "no_available_backend")["context"]
        assert context["rejections"][0]["reason"] == "asleep"
        assert context["rejections"][0]["fix"] == "nexus models load a box"
        shelf.open.clear()
        told = await begin(gateway, "a", "box")
        await gateway.until(lambda: bool(gateway.runtime.registry.get("box").claims))
        client = chatting(gateway)
        await gateway.until(lambda: bool(gateway.runtime.admission.waiting()))
        shelf.open.set()
        assert (await client).status_code == 200
        assert (await ended(gateway, told["operation_id"]))["status"] == "completed"


async def test_without_room_nothing_is_loaded() -> None:
    shelf = Shelf("a", "b", loaded=("a",), size=10 * GB)
    async with ollamas(box=shelf) as (gateway, _):
        told = await begin(gateway, "b", "box")
        over = await ended(gateway, told["operation_id"])
        assert over["status"] == "failed"
        assert "10.0 GB of 16.0 GB (lifecycle.vram_heuristic_max_gb) are taken" in over["error"]
    assert shelf.done == []


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        ({"model_id": "a"}, 400, "backend_id is missing"),
        ({"model_id": "a", "backend_id": "nobody"}, 404, "no backend is called 'nobody'"),
        ({"model_id": "x", "backend_id": "box"}, 404, "box has no model 'x' (it has: a)"),
        ({"model_id": "m", "backend_id": "plain"}, 409, "cannot be told to load models"),
    ],
)
async def test_what_cannot_be_is_refused_at_once(
    asked: dict[str, str], status: int, words: str
) -> None:
    async with shelves.ollama(Shelf("a")) as box, ScriptedBackend(name="plain") as plain:
        entries = [backend_entry("box", box.url, type="ollama"), backend_entry("plain", plain.url)]
        async with running_gateway(entries) as gateway:
            answer = await gateway.client.post("/v1/models/load", json=asked)
            assert answer.status_code == status
            assert words in answer.json()["error"]["message"]


async def test_other_sites_and_other_machines_may_not_steer() -> None:
    async with ollamas(box=Shelf("a", loaded=("a",))) as (gateway, _):
        strange = {"sec-fetch-site": "cross-site"}
        proxied = {"x-forwarded-for": "10.0.0.9"}
        asked = {"model_id": "a", "backend_id": "box"}
        for headers, status in ((strange, 403), (proxied, 401)):
            load = await gateway.client.post("/v1/models/load", json=asked, headers=headers)
            gone = await gateway.client.delete("/v1/models/a?backend_id=box", headers=headers)
            seen = await gateway.client.get(OPERATIONS, headers=headers)
            assert {load.status_code, gone.status_code, seen.status_code} == {status}


async def test_load_times_are_known_after_a_restart(tmp_path: Any) -> None:
    state = {"path": str(tmp_path / "nexus.db")}
    async with shelves.ollama(shelf := Shelf("a")) as box:
        entries = [backend_entry("box", box.url, type="ollama")]
        async with running_gateway(entries, state=state) as gateway:
            told = await begin(gateway, "a", "box")
            await ended(gateway, told["operation_id"])
        shelf.loaded.clear()
        async with running_gateway(entries, state=state) as gateway:
            assert (await begin(gateway, "a", "box"))["eta_seconds"] > 0
