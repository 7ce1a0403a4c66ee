"""`nexus why` and `nexus route`: decisions in words."""

from __future__ import annotations

from pathlib import Path

from nexus_proxy.config.model import Zone
from nexus_proxy.routing import STAGES
from tests.contract.cli.terminal import scene
from tests.support.scripted import faults


async def test_why_names_every_stage_candidate_and_attempt(tmp_path: Path) -> None:
    routing = {"aliases": {"gpt": "m"}, "strategy": "priority_only"}
    async with scene(tmp_path, ["m"], ["m"], routing=routing) as here:
        here.gateway.runtime.registry.set_priority("two", 90)
        here.backends[0].behave(faults.status(500, "broken"), times=1)
        await here.gateway.chat("gpt", {"x-request-id": "mine"})
        done = await here.nexus("why", "mine")
        data = await here.nexus("why", "mine", "--json")
    assert done.code == 0
    assert "chat gpt on two" in done.out
    assert "gpt -> m" in done.out
    for stage in STAGES:
        assert stage.name in done.out
    assert "broken" in done.out
    assert "answered" in done.out
    assert [attempt["backend"] for attempt in data.json()["attempts"]] == ["one", "two"]
    assert data.json()["decision"]["required_zone"] == "open"


async def test_why_does_not_know_every_request(tmp_path: Path) -> None:
    async with scene(tmp_path) as here:
        done = await here.nexus("why", "no/such?id")
    assert (done.code, done.out) == (1, "")
    assert "'no/such?id'" in done.err


async def test_route_says_where_a_request_would_go_without_sending_it(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"], ["m"]) as here:
        here.gateway.runtime.registry.set_zone("one", Zone.OPEN)
        done = await here.nexus("route", "m", "--zone", "INTERNAL", "--tools")
        data = await here.nexus("route", "m", "--zone", "internal", "--json")
        assert not here.backends[0].generations
        assert not here.backends[1].generations
    assert done.code == 0
    assert done.out.splitlines()[-1] == "it would go to two as m"
    assert "its zone is open, the request needs internal" in done.out
    assert "nexus backends zone one internal" in done.out
    (decision,) = data.json()
    assert [candidate["backend"] for candidate in decision["candidates"]] == ["two"]


async def test_route_fails_where_nobody_could_serve(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        here.gateway.runtime.registry.set_drained("one", True)
        done = await here.nexus("route", "m")
        data = await here.nexus("route", "m", "--json")
    assert done.code == 1
    assert "draining" in done.out
    assert "nexus backends resume one" in done.out
    assert "nobody could serve" in done.err
    assert data.code == 1
    assert data.json()[0]["rejections"][0]["stage"] == "lifecycle"


async def test_route_follows_the_fallback_chain_unless_strict(tmp_path: Path) -> None:
    routing = {"fallbacks": {"m": ["n"]}}
    async with scene(tmp_path, ["m", "n"], routing=routing) as here:
        chain = await here.nexus("route", "m", "--json")
        strict = await here.nexus("route", "m", "--strict", "--json")
    assert [decision["model"] for decision in chain.json()] == ["m", "n"]
    assert [decision["model"] for decision in strict.json()] == ["m"]


async def test_route_knows_the_prompts_length(tmp_path: Path) -> None:
    async with scene(tmp_path, [{"id": "m", "max_model_len": 4096}]) as here:
        short = await here.nexus("route", "m", "--prompt-tokens", "100")
        long = await here.nexus("route", "m", "--prompt-tokens", "100000")
    assert short.code == 0
    assert long.code == 1
    assert "do not fit" in long.out


async def test_an_unknown_model_gets_the_nearest_names(tmp_path: Path) -> None:
    async with scene(tmp_path, ["qwen3:8b"]) as here:
        done = await here.nexus("route", "qwen3:8")
    assert done.code == 1
    assert "'qwen3:8b'" in done.err
