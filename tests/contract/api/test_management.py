"""State, verbs, requests and dry runs over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from nexus_proxy.commands import COMMANDS
from nexus_proxy.config.model import Zone
from nexus_proxy.quality.service import Outcome
from nexus_proxy.state import DecisionView, QualityView, RequestView, Snapshot
from tests.support.gateway import RunningGateway, backend_entry, backend_toml, running_gateway
from tests.support.scripted import ScriptedBackend, faults


@asynccontextmanager
async def one_backend(
    tmp_path: Path, **tables: Any
) -> AsyncIterator[tuple[RunningGateway, ScriptedBackend]]:
    """A gateway over one backend, with a configuration file that may be written to."""
    async with ScriptedBackend(["m", "n"]) as backend:
        file = tmp_path / "nexus.toml"
        file.write_text(backend_toml(backend.url))
        entry = backend_entry("one", backend.url)
        async with running_gateway([entry], path=file, **tables) as gateway:
            yield gateway, backend


async def verb(gateway: RunningGateway, verb_name: str, /, **arguments: Any) -> httpx.Response:
    return await gateway.client.post(f"/nexus/v1/commands/{verb_name}", json=arguments)


def message(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


async def test_the_state_is_a_snapshot(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        answer = await gateway.client.get("/nexus/v1/state")
        assert {backend["zone"] for backend in answer.json()["backends"]} == {"restricted"}
    snapshot = msgspec.json.decode(answer.content, type=Snapshot)
    assert [backend.name for backend in snapshot.backends] == ["one"]
    assert snapshot.endpoint == gateway.url


async def test_quality_is_told_alone_and_in_the_snapshot(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        backend = gateway.runtime.registry.get("one")
        gateway.runtime.quality.note(backend, "m", Outcome.SERVED, 80.0, 20.0)
        answer = await gateway.client.get("/nexus/v1/quality")
        state = await gateway.client.get("/nexus/v1/state")
    (view,) = msgspec.convert(answer.json()["quality"], tuple[QualityView, ...])
    assert (view.backend, view.model, view.score) == ("one", "m", None)
    assert view.hour.requests == 1
    assert msgspec.json.decode(state.content, type=Snapshot).quality == (view,)


async def test_the_verbs_are_those_of_the_table() -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get("/nexus/v1/commands")
    listed = {command["name"]: command for command in answer.json()["commands"]}
    assert list(listed) == [command.name for command in COMMANDS]
    drain = listed["backend.drain"]
    assert set(drain) == {"name", "title", "help", "arguments", "danger", "key"}
    assert drain["danger"] == "confirm"
    assert drain["arguments"][0]["kind"] == "backend"


async def test_a_verb_acts_and_persists(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        answer = await verb(gateway, "backend.drain", backend="one")
        assert answer.status_code == 200
        assert answer.json()["message"].startswith("one drains")
        assert gateway.runtime.registry.get("one").drained
        assert "drained = true" in (tmp_path / "nexus.toml").read_text()
        await verb(gateway, "backend.resume", backend="one")
        assert not gateway.runtime.registry.get("one").drained


async def test_adding_a_backend_finds_out_what_it_is(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _), ScriptedBackend(["new"]) as other:
        answer = await verb(gateway, "backend.add", url=f"{other.url}/v1", name="two")
        models = await gateway.client.get("/v1/models")
    assert answer.json()["data"] == {"backend": "two", "type": "generic", "state": "up"}
    assert "new" in [model["id"] for model in models.json()["data"]]


async def test_the_consequence_is_asked_for_without_acting(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        answer = await verb(gateway, "backend.drain/consequence", backend="one")
        harmless = await verb(gateway, "backend.zone/consequence", backend="one", zone="restricted")
        assert not gateway.runtime.registry.get("one").drained
    assert "nobody else serves m, n" in answer.json()["question"]
    assert harmless.json() == {"question": None}


@pytest.mark.parametrize(
    ("name", "arguments", "status", "said"),
    [
        ("backend.fly", {}, 404, "no command"),
        ("backend.drain", {"backend": "nobody"}, 404, "one"),
        ("backend.drain", {}, 409, "needs backend"),
        ("backend.drain", {"backend": "one", "force": True}, 409, "force"),
        ("backend.zone", {"backend": "one", "zone": "secret"}, 409, "restricted"),
        ("backend.priority", {"backend": "one", "priority": []}, 409, "priority"),
        ("backend.tags", {"backend": "one", "tags": 7}, 409, "tags"),
        ("backend.add", {"url": "ftp://x"}, 409, "ftp"),
    ],
)
async def test_a_verb_that_is_refused_says_why(
    tmp_path: Path, name: str, arguments: dict[str, Any], status: int, said: str
) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        answer = await verb(gateway, name, **arguments)
    assert answer.status_code == status
    assert said in message(answer)


async def test_requests_are_listed_newest_first_and_by_state(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, backend):
        await gateway.chat("m", {"x-request-id": "first"})
        backend.behave(faults.status(400, "no"), times=1)
        await gateway.chat("m", {"x-request-id": "second"})
        listed = await gateway.client.get("/nexus/v1/requests")
        one = await gateway.client.get("/nexus/v1/requests", params={"limit": 1})
        failed = await gateway.client.get("/nexus/v1/requests", params={"state": "failed"})
        running = await gateway.client.get("/nexus/v1/requests", params={"state": "running"})
    ids = [view["id"] for view in listed.json()["requests"]]
    assert ids == ["second", "first"]
    assert [view["id"] for view in one.json()["requests"]] == ["second"]
    assert [view["id"] for view in failed.json()["requests"]] == ["second"]
    assert running.json() == {"requests": []}


@pytest.mark.parametrize("query", [{"limit": "-1"}, {"limit": "x"}, {"state": "lost"}])
async def test_a_bad_query_is_400(query: dict[str, str]) -> None:
    async with running_gateway() as gateway:
        answer = await gateway.client.get("/nexus/v1/requests", params=query)
    assert answer.status_code == 400
    assert next(iter(query)) in message(answer)


async def test_why_tells_the_whole_story_of_a_request(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        await gateway.chat("m", {"x-request-id": "mine"})
        answer = await gateway.client.get("/nexus/v1/why/mine")
        unknown = await gateway.client.get("/nexus/v1/why/yours")
    view = msgspec.json.decode(answer.content, type=RequestView)
    assert view.decision is not None
    assert [candidate.backend for candidate in view.decision.candidates] == ["one"]
    assert [attempt.backend for attempt in view.attempts] == ["one"]
    assert unknown.status_code == 404
    assert "'yours'" in message(unknown)


async def dry_run(gateway: RunningGateway, **question: Any) -> list[DecisionView]:
    answer = await gateway.client.post("/nexus/v1/route", json=question)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(
        msgspec.json.encode(answer.json()["decisions"]), type=list[DecisionView]
    )


async def test_a_dry_run_decides_and_sends_nothing(tmp_path: Path) -> None:
    routing = {"aliases": {"gpt": "m"}, "fallbacks": {"m": ["n"]}}
    async with one_backend(tmp_path, routing=routing) as (gateway, backend):
        decisions = await dry_run(gateway, model="gpt", zone="Restricted", tools=True)
        strict = await dry_run(gateway, model="gpt", strict=True)
        assert backend.generations == []
        assert gateway.runtime.history.newest(10) == ()
    assert [decision.path for decision in decisions] == [("gpt", "m"), ("gpt", "m", "n")]
    assert decisions[0].required_zone is Zone.RESTRICTED
    assert decisions[0].needs == ("tools",)
    assert [candidate.backend for candidate in decisions[0].candidates] == ["one"]
    assert len(strict) == 1


async def test_a_dry_run_says_who_is_left_out(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        gateway.runtime.registry.set_zone("one", Zone.INTERNAL)
        (decision,) = await dry_run(gateway, model="m", zone="confidential")
    assert decision.candidates == ()
    assert [(r.backend, r.stage) for r in decision.rejections] == [("one", "privacy")]


@pytest.mark.parametrize(
    ("question", "status", "said"),
    [
        ({}, 400, "model"),
        ({"model": ""}, 400, "model"),
        ({"model": 1}, 400, "model"),
        ({"model": "m", "zone": "secret"}, 400, "restricted"),
        ({"model": "m", "tool": True}, 400, "tool"),
        ({"model": "m", "prompt_tokens": -1}, 400, "prompt_tokens"),
        ({"model": "nothing-like-it"}, 404, "nothing-like-it"),
    ],
)
async def test_a_question_that_cannot_be_answered_says_why(
    tmp_path: Path, question: dict[str, Any], status: int, said: str
) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        answer = await gateway.client.post("/nexus/v1/route", json=question)
    assert answer.status_code == status
    assert said in message(answer)


async def test_the_configuration_is_shown_with_origins_and_without_keys(tmp_path: Path) -> None:
    async with ScriptedBackend(["m"], api_key="sk-very-secret") as backend:
        entry = backend_entry("one", backend.url, api_key_env="ONE_KEY")
        environ = {"ONE_KEY": "sk-very-secret"}
        async with running_gateway([entry], environ=environ) as gateway:
            answer = await gateway.client.get("/nexus/v1/config")
    values = {value["key"]: value for value in answer.json()["values"]}
    assert values["server.port"]["origin"] == "default"
    assert values["backends.one.api_key_env"]["value"] == "ONE_KEY"
    assert "sk-very-secret" not in answer.text


async def test_a_text_is_checked_without_touching_what_runs(tmp_path: Path) -> None:
    async with one_backend(tmp_path) as (gateway, _):
        bad = await gateway.client.post(
            "/nexus/v1/config/check", json={"text": "[server]\nprot = 1\n[routing]\nstrategy = 3\n"}
        )
        broken = await gateway.client.post("/nexus/v1/config/check", json={"text": "[server"})
        good = await gateway.client.post("/nexus/v1/config/check", json={"text": ""})
        file = await gateway.client.post("/nexus/v1/config/check", json={})
    assert not bad.json()["valid"]
    assert [(p["key"], p["line"]) for p in bad.json()["problems"]] == [
        ("server.prot", 2),
        ("routing.strategy", 4),
    ]
    assert "port" in bad.json()["problems"][0]["hint"]
    assert not broken.json()["valid"]
    assert good.json() == {"valid": True, "problems": []}
    assert file.json() == {"valid": True, "problems": []}


async def test_a_reload_applies_the_file_or_keeps_what_runs(tmp_path: Path) -> None:
    file = tmp_path / "nexus.toml"
    async with one_backend(tmp_path) as (gateway, _):
        text = file.read_text()
        file.write_text(f"{text}[routing]\nmax_retries = 5\n")
        await gateway.client.post("/nexus/v1/config/reload", json={})
        assert gateway.runtime.config.routing.max_retries == 5
        file.write_text(f"{text}[routing]\nmax_retires = 6\n")
        refused = await gateway.client.post("/nexus/v1/config/reload", json={})
        assert gateway.runtime.config.routing.max_retries == 5
    assert refused.status_code == 422
    assert "max_retires" in message(refused)
