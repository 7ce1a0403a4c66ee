"""Models in memory where two workers serve: what one unloads, both have finished with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nexus_proxy.tasks import spawn
from tests.contract.workers.running import chat, two_workers, until
from tests.support import shelves
from tests.support.scripted import Answer
from tests.support.shelves import Shelf

OPERATIONS = "/v1/lifecycle/operations"


async def test_an_unload_waits_for_what_runs_in_the_other_worker(tmp_path: Path) -> None:
    shelf = Shelf("a", loaded=("a",))
    async with shelves.ollama(shelf) as box:
        path = tmp_path / "nexus.toml"
        path.write_text(f'[[backends]]\nname = "box"\nurl = "{box.url}"\ntype = "ollama"\n')
        async with two_workers(str(path)) as workers, workers.connected() as clients:

            async def stands(**wanted: Any) -> bool:
                told = (await clients[0].get(OPERATIONS)).json()["operations"]
                return bool({**told[0], **wanted} == told[0])

            box.behave(Answer(hold_before="headers"), times=1)
            running = spawn(chat(clients[1], model="a"), name="client")
            await box.until(lambda: box.in_flight == 1)
            begun = await clients[0].delete("/v1/models/a", params={"backend_id": "box"})
            assert begun.status_code == 202, begun.text
            await until(lambda: stands(waits_for_requests=1))
            assert shelf.done == []
            box.release()
            assert (await running).status_code == 200
            await until(lambda: stands(status="completed"))
            assert shelf.done == ["unload a"]
            for client in clients.values():
                state = (await client.get("/nexus/v1/state")).json()
                assert [m["loaded"] for m in state["backends"][0]["models"]] == [False]
