"""`nexus backends list`, `models`, `health`, `requests`: what people and programs read."""

from __future__ import annotations

from pathlib import Path

import pytest

from nexus_proxy.quality.service import Outcome
from nexus_proxy.state import BackendState
from nexus_proxy.tasks import spawn
from tests.contract.cli.terminal import scene
from tests.support.scripted import Answer, faults

WIDE = {"id": "m", "max_model_len": 32768}


def columns(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


async def test_backends_are_listed_with_their_state(tmp_path: Path) -> None:
    async with scene(tmp_path, [WIDE, "n"], ["m"]) as here:
        done = await here.nexus("backends", "list")
        url = here.backends[0].url
    header, one, two = columns(done.out)
    assert done.code == 0
    assert header[:4] == ["NAME", "TYPE", "STATE", "ZONE"]
    assert one == ["one", "vllm", "up", "restricted", "50", "0/?", "2", url]
    assert two[0] == "two"


async def test_backends_as_json_are_the_views_with_zones_by_name(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.nexus("backends", "list", "--json")
    (backend,) = done.json()
    assert backend["name"] == "one"
    assert backend["zone"] == "restricted"
    assert [model["id"] for model in backend["models"]] == ["m"]


async def test_columns_stay_aligned_under_wide_and_hostile_names(tmp_path: Path) -> None:
    names = ["漢字モデル", "x[/foo]", "plain", "mark\u0301ed", "rtl\u202eevil"]
    async with scene(tmp_path, names) as here:
        done = await here.nexus("models")
    assert done.code == 0
    assert "漢字モデル" in done.out
    assert "x[/foo]" in done.out
    assert "\u202e" not in done.out
    assert "\x1b" not in done.out
    header = done.out.splitlines()[0]
    wide = next(line for line in done.out.splitlines() if line.startswith("漢字"))
    # Each of the five wide characters takes two cells, so the line is five characters shorter.
    assert wide.index("one") == header.index("BACKENDS") - 5


async def test_models_can_be_limited_to_a_backend(tmp_path: Path) -> None:
    async with scene(tmp_path, [WIDE, "left"], [WIDE, "right"]) as here:
        every = await here.nexus("models", "--json")
        some = await here.nexus("models", "--backend", "two", "--json")
        none = await here.nexus("models", "--backend", "nobody")
    assert [model["id"] for model in every.json()] == ["left", "m", "right"]
    assert [model["id"] for model in some.json()] == ["m", "right"]
    assert every.json()[1]["context_length"] == 32768
    assert (none.code, none.out) == (0, "")
    assert "nobody" in none.err


async def test_health_is_a_word_numbers_and_an_exit_code(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"], ["m"]) as here:
        well = await here.nexus("health")
        data = await here.nexus("health", "--json")
        here.backends[1].refuse()
        here.backends[1].drop_connections()
        two = here.gateway.runtime.registry.get("two")
        await here.gateway.until(lambda: two.health is BackendState.DOWN)
        half = await here.nexus("health")
        for name in ("one", "two"):
            here.gateway.runtime.registry.get(name).enabled = False
        ill = await here.nexus("health")
    assert well.code == 0
    assert well.out.startswith("healthy: nexus ")
    assert "2 of 2 backends healthy" in well.out
    assert data.json()["backends"] == {"total": 2, "healthy": 2, "unhealthy": 0}
    assert data.json()["traffic"]["in_flight"] == 0
    assert "0 requests in flight, 0 waiting; 0.0 requests/s" in well.out
    assert half.out.endswith("! two is down: connection refused\n")
    assert ill.code == 1
    assert ill.out.startswith("unhealthy")
    assert ill.err == ""


async def test_one_backend_is_told_of_wholly(tmp_path: Path) -> None:
    async with scene(tmp_path, [WIDE], ["m"]) as here:
        await here.gateway.chat("m")
        here.backends[0].behave(faults.status(500, "it burns"), times=1)
        here.backends[1].behave(faults.status(500, "it burns"), times=1)
        await here.gateway.chat("m", stream=False)
        done = await here.nexus("backends", "show", "one")
        data = await here.nexus("backends", "show", "one", "--json")
        nobody = await here.nexus("backends", "show", "nobody")
    assert (done.code, nobody.code) == (0, 1)
    assert "(there are: one, two)" in nobody.err
    for line in ("name          one", "zone          restricted, tier 1", "failed with  "):
        assert line in done.out
    assert done.out.splitlines()[-1].split()[:2] == ["m", "32768"]
    told = data.json()
    assert told["backend"]["name"] == "one"
    assert sum(told["trend"]["requests"]) >= 1


async def test_requests_are_chosen_by_model_backend_and_status(tmp_path: Path) -> None:
    async with scene(tmp_path, ["a"], ["b"]) as here:
        for model in ("a", "b", "a", "nobody"):
            await here.gateway.chat(model)
        lists = {
            words: (await here.nexus("requests", *words, "--json")).json()
            for words in (
                ("--model", "a"),
                ("--backend", "two"),
                ("--status", "done", "-n", "1"),
                ("--status", "404"),
                ("--key", "ci"),
            )
        }
        wrong = await here.nexus("requests", "--status", "odd")
    chosen = [[view["model_asked"] for view in views] for views in lists.values()]
    assert chosen == [["a", "a"], ["b"], ["a"], ["nobody"], []]
    assert wrong.code == 2
    assert "one of running, done, failed, cancelled" in wrong.err


async def test_requests_are_listed_oldest_first(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        await here.gateway.chat("m", {"x-request-id": "first"})
        here.backends[0].behave(faults.status(400, "no"), times=1)
        await here.gateway.chat("m", {"x-request-id": "second"})
        done = await here.nexus("requests")
        last = await here.nexus("requests", "--limit", "1", "--json")
    _, first, second = columns(done.out)
    assert first[1:7] == ["first", "chat", "m", "one", "done", "200"]
    assert second[1] == "second"
    assert "failed" in second
    assert [view["id"] for view in last.json()] == ["second"]


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("backends", "list"), "nexus backends add URL"),
        (("backends",), "nexus backends add URL"),
        (("models",), "nexus backends list"),
        (("requests",), "No requests yet"),
        (("quality",), "No request has reached a backend yet"),
    ],
)
async def test_an_empty_list_says_what_to_do_and_prints_nothing(
    tmp_path: Path, command: tuple[str, ...], hint: str
) -> None:
    async with scene(tmp_path) as here:
        done = await here.nexus(*command)
        data = await here.nexus(*command, "--json")
    assert (done.code, done.out) == (0, "")
    assert hint in done.err
    assert data.json() == []


async def test_the_queue_says_who_waits_for_what(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        (backend,) = here.backends
        here.gateway.runtime.registry.get("one").learnt_slots = 1
        backend.behave(Answer(hold_before="headers"))
        first = spawn(here.gateway.chat("m", {"x-request-id": "first"}), name="first")
        await backend.until(lambda: backend.in_flight == 1)
        second = spawn(here.gateway.chat("m", {"x-request-id": "second"}), name="second")
        await here.gateway.until(lambda: bool(here.gateway.runtime.admission.waiting()))
        table = await here.nexus("queue")
        data = await here.nexus("queue", "--json")
        shown = await here.gateway.client.get("/nexus/v1/state")
        running = await here.gateway.client.get("/nexus/v1/requests?state=running")
        backend.release()
        assert [(await task).status_code for task in (first, second)] == [200, 200]
        empty = await here.nexus("queue")
    _, row = table.out.splitlines()
    assert row.split()[:4] == ["1", "second", "m", "normal"]
    assert row.endswith("one: its only slot is taken")
    assert data.json()["max_size"] == 100
    (view,) = data.json()["waiting"]
    assert view["waits_for"] == [{"backend": "one", "model": "m", "why": "its only slot is taken"}]
    assert view["eta_seconds"] is None  # nothing was measured yet
    assert [one["id"] for one in shown.json()["queue"]] == ["second"]
    phases = {one["id"]: one["phase"] for one in running.json()["requests"]}
    assert phases == {"first": "waiting", "second": "queued"}
    assert (empty.code, empty.out) == (0, "")
    assert "Nobody waits. 100 requests may" in empty.err


async def test_quality_says_how_well_each_serves_and_who_is_left_out(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"], ["m"]) as here:
        quality = here.gateway.runtime.quality
        for backend in here.gateway.runtime.registry:
            good = backend.name == "one"
            for _ in range(5):
                outcome = Outcome.SERVED if good else Outcome.CUT
                quality.note(backend, "m", outcome, 120.0 if good else None, 40.0 if good else None)
        quality.recompute()
        table = await here.nexus("quality")
        data = await here.nexus("quality", "--json")
    header, one, two, why = table.out.splitlines()
    assert header.split()[:4] == ["MODEL", "BACKEND", "SCORE", "STATE"]
    assert one.split()[:9] == ["m", "one", "100", "in", "use", "5", "0", "0", "150"]
    assert two.split()[:8] == ["m", "two", "0", "left", "out", "5", "5", "5"]
    assert why.startswith("two is left out for m while another can serve: 5 of its last 5 requests")
    views = {view["backend"]: view for view in data.json()}
    assert views["one"]["parts"] == {
        "success": 100.0,
        "whole": 100.0,
        "first_token": 100.0,
        "rate": 100.0,
    }
    assert views["two"]["state"] == "left out"
    assert views["two"]["hour"]["cuts"] == 5
