"""Two workers look like one gateway, whichever of them is asked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import httpx
import pytest

from nexus_proxy.admission.keys import hash_of, new_secret
from tests.contract.workers.running import chat, two_workers, until, worker_of
from tests.support.gateway import backend_toml
from tests.support.scripted import Answer, ScriptedBackend

STATE = "/nexus/v1/state"


async def test_both_answer_and_each_tells_what_both_did(config: str) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        nodes = set()
        for client in clients.values():
            answer = await chat(client)
            assert answer.status_code == 200
            nodes.add(answer.headers["x-nexus-node"])
        assert len(nodes) == 1
        for client in clients.values():
            state = (await client.get(STATE)).json()
            assert state["totals"]["requests"] == 2
            assert [b["requests"] for b in state["backends"]] == [2]
            assert {request["worker"] for request in state["requests"]} == {0, 1}
            listed = (await client.get("/nexus/v1/requests")).json()["requests"]
            starts = [request["started"] for request in listed]
            assert starts == sorted(starts, reverse=True)
            for request in listed:
                told = await client.get(f"/nexus/v1/why/{request['id']}")
                assert told.json()["worker"] == request["worker"]
            assert (await client.get("/nexus/v1/why/nobody")).status_code == 404
            assert (await client.get("/health")).json()["status"] == "healthy"


async def test_connections_that_come_at_once_are_shared(config: str) -> None:
    async with two_workers(config) as workers:
        clients = [workers.connect() for _ in range(40)]
        await asyncio.gather(*(chat(client) for client in clients))
        listed = (await clients[0].get("/nexus/v1/requests")).json()["requests"]
        for client in clients:
            await client.aclose()
        served = [request["worker"] for request in listed]
        assert len(served) == 40
        assert 14 <= served.count(0) <= 26


async def test_limits_of_a_key_are_one_for_all_workers(config: str) -> None:
    secret = new_secret()
    key = f'[[keys]]\nname = "ci"\nhash = "{hash_of(secret)}"\nrequests_per_minute = 6\n'
    Path(config).write_text(Path(config).read_text() + key)
    async with two_workers(config) as workers, workers.connected() as clients:
        for client in clients.values():
            client.headers["authorization"] = f"Bearer {secret}"
        for _ in range(3):
            answers = await asyncio.gather(*map(chat, clients.values()))
            assert [answer.status_code for answer in answers] == [200, 200]
        answers = await asyncio.gather(*map(chat, clients.values()))
        assert [answer.status_code for answer in answers] == [429, 429]


@pytest.mark.parametrize("asked", [0, 1])
async def test_a_verb_holds_in_both_when_it_returns(config: str, asked: int) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        done = await clients[asked].post(
            "/nexus/v1/commands/backend.drain", json={"backend": "one"}
        )
        assert done.status_code == 200, done.text
        for client in clients.values():
            assert (await chat(client)).status_code == 503
        assert "drained = true" in Path(config).read_text()
        done = await clients[asked].post(
            "/nexus/v1/commands/backend.resume", json={"backend": "one"}
        )
        assert done.status_code == 200
        for client in clients.values():
            assert (await chat(client)).status_code == 200
        refused = await clients[asked].post(
            "/nexus/v1/commands/backend.drain", json={"backend": "nobody"}
        )
        assert refused.status_code == 404


@pytest.mark.parametrize("asked", [0, 1])
async def test_a_request_is_cancelled_whichever_of_them_serves_it(
    config: str, backend: ScriptedBackend, asked: int
) -> None:
    backend.behave(Answer(hold_before=0))
    async with two_workers(config) as workers, workers.connected() as clients:
        loop = asyncio.get_running_loop()
        asking = loop.create_task(chat(clients[1 - asked]))
        await backend.until(lambda: len(backend.generations) == 1)
        async with workers.connected() as others:
            listed = (await others[asked].get("/nexus/v1/requests?state=running")).json()
            name = {"request": listed["requests"][0]["id"]}
            verb = "/nexus/v1/commands/request.cancel"
            done = await others[asked].post(verb, json=name)
            assert done.status_code == 200, done.text
            assert (await asking).status_code == 499
            again = await others[asked].post(verb, json=name)
            assert again.status_code == 404


async def test_a_verb_that_cannot_be_kept_holds_in_both_all_the_same(config: str) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        path = Path(config)
        path.unlink()
        path.mkdir()  # nobody can write a file there, not even root
        done = await clients[1].post("/nexus/v1/commands/backend.drain", json={"backend": "one"})
        assert "was not kept" in done.json()["error"]["message"]
        for client in clients.values():
            assert (await chat(client)).status_code == 503


@pytest.mark.parametrize("asked", [0, 1])
async def test_a_backend_that_is_added_and_removed_is_so_in_both(config: str, asked: int) -> None:
    async with (
        ScriptedBackend(["other"], name="two") as other,
        two_workers(config) as workers,
        workers.connected() as clients,
    ):
        client = clients[asked]
        body = {"url": other.url, "name": "two"}
        added = await client.post("/nexus/v1/commands/backend.add", json=body)
        assert added.status_code == 200, added.text

        async def served() -> bool:
            answers = [await chat(client, model="other") for client in clients.values()]
            return all(answer.status_code == 200 for answer in answers)

        await until(served)  # each has to look at it once
        body = {"model": "other", "backend": "two"}
        await client.post("/nexus/v1/commands/backend.pin", json=body)
        for one in clients.values():
            assert (await one.get(STATE)).json()["pins"] == {"other": "two"}
        gone = await client.post("/nexus/v1/commands/backend.remove", json={"backend": "two"})
        assert gone.status_code == 200
        for one in clients.values():
            assert (await chat(one, model="other")).status_code == 404


async def test_a_file_that_is_saved_holds_in_both(config: str) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        path = Path(config)
        path.write_text(path.read_text() + '[routing.aliases]\n"nick" = "m"\n')

        async def known() -> bool:
            answers = [await chat(client, model="nick") for client in clients.values()]
            return all(answer.status_code == 200 for answer in answers)

        await until(known)


async def test_the_command_line_lists_the_requests_of_both(config: str) -> None:
    async with two_workers(config) as workers:
        async with workers.connected() as clients:
            for number, client in clients.items():
                await client.post(
                    "/v1/chat/completions",
                    json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
                    headers={"x-request-id": f"by-{number}"},
                )
        listing = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "nexus_proxy", "requests", "--json", "--url", workers.url),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await listing.communicate()
        listed = {request["id"]: request["worker"] for request in json.loads(out)}
        assert listed == {"by-0": 0, "by-1": 1}


@pytest.mark.parametrize("asked", [0, 1])
async def test_events_of_both_come_to_whoever_listens(config: str, asked: int) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        async with clients[asked].stream("GET", "/nexus/v1/events") as answer:
            lines = answer.aiter_lines()
            assert json.loads((await anext(lines)).removeprefix("data: "))["type"] == "hello"
            await clients[1 - asked].post(
                "/v1/chat/completions",
                json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
                headers={"x-request-id": "mine"},
            )
            async with asyncio.timeout(20):
                async for line in lines:
                    event = json.loads(line.removeprefix("data: ")) if "data" in line else {}
                    if event.get("type") == "RequestFinished":
                        break
        assert event == {
            "type": "RequestFinished",
            "id": "mine",
            "backend": "one",
            "worker": 1 - asked,
        }


async def test_a_limit_is_divided_between_both(tmp_path: Path, backend: ScriptedBackend) -> None:
    path = tmp_path / "limited.toml"
    path.write_text(f"{backend_toml(backend.url)}max_concurrent = 3\n[queue]\nenabled = false\n")
    async with two_workers(str(path)) as workers, contextlib.AsyncExitStack() as stack:
        backend.behave(Answer(hold_before=0))
        at: dict[int, list[httpx.AsyncClient]] = {0: [], 1: []}
        while len(at[0]) < 2 or len(at[1]) < 1:
            client = await stack.enter_async_context(workers.connect())
            at[await worker_of(client)].append(client)
        loop = asyncio.get_running_loop()
        asking = [loop.create_task(chat(client, stream=True)) for client in (*at[0][:2], at[1][0])]
        await backend.until(lambda: len(backend.generations) == 3)
        async with workers.connected() as clients:
            for client in clients.values():
                assert (await chat(client)).status_code == 503
                shown = (await client.get(STATE)).json()["backends"][0]
                assert (shown["slots"], shown["in_flight"]) == (3, 3)
        backend.release()
        for answer in await asyncio.gather(*asking):
            assert answer.text.endswith("data: [DONE]\n\n")


async def test_a_worker_that_hangs_is_left_out_and_named(config: str) -> None:
    async with two_workers(config) as workers, workers.connected() as clients:
        pid = workers.pids()[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            state = (await clients[1].get(STATE)).json()
            assert "worker 0 is left out" in state["problems"][0]
            for _ in range(5):  # what comes is served by the other
                assert (await workers.ask()).status_code == 200
        finally:
            os.kill(pid, signal.SIGCONT)
