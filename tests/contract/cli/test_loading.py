"""`nexus models load|unload|migrate|operations`, on a running gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from nexus_proxy.tasks import spawn
from tests.contract.cli.terminal import Scene, scene_of
from tests.support import shelves
from tests.support.shelves import Shelf


@asynccontextmanager
async def two_boxes(tmp_path: Path, one: Shelf, two: Shelf) -> AsyncIterator[Scene]:
    boxes = [shelves.ollama(one), shelves.ollama(two)]
    async with scene_of(tmp_path, boxes, kind="ollama") as here:
        yield here


async def test_a_load_is_followed_to_its_end(tmp_path: Path) -> None:
    one = Shelf("a")
    async with two_boxes(tmp_path, one, Shelf("a")) as here:
        one.open.clear()
        command = spawn(here.nexus("models", "load", "a", "one"), name="nexus")
        await here.gateway.until(lambda: bool(here.gateway.runtime.registry.get("one").claims))
        health = await here.nexus("health")
        assert "loading a on one" in health.out
        operations = await here.nexus("models", "operations", "--json")
        assert operations.json()[0]["status"] == "in_progress"
        one.open.set()
        done = await command
        assert done.code == 0
        assert "a is loaded on one" in done.out
        assert "loading a on one" in done.err
        table = await here.nexus("models", "operations")
        assert "done" in table.out


async def test_what_fails_exits_with_1_and_the_reason(tmp_path: Path) -> None:
    one = Shelf("a")
    one.refusal = "model requires more system memory"
    async with two_boxes(tmp_path, one, Shelf("a")) as here:
        done = await here.nexus("models", "load", "a", "one", "--json")
        assert done.code == 1
        assert done.json()["error"] == one.refusal
        assert "a is not loaded on one: model requires more system memory" in done.err
        unknown = await here.nexus("models", "load", "x", "one")
        assert (unknown.code, "has no model 'x'" in unknown.err) == (1, True)


async def test_a_model_moves(tmp_path: Path) -> None:
    one, two = Shelf("a", loaded=("a",)), Shelf("a")
    async with two_boxes(tmp_path, one, two) as here:
        done = await here.nexus("models", "migrate", "a", "one", "two")
        assert "a is moved from one to two" in done.out
        assert (one.loaded, two.loaded) == (set(), {"a"})
        begun = await here.nexus("models", "unload", "a", "two", "--no-wait", "--json")
        assert begun.json()["type"] == "unload"


async def test_options_before_the_command_are_not_lost_in_silence(tmp_path: Path) -> None:
    async with two_boxes(tmp_path, Shelf("a"), Shelf("a")) as here:
        done = await here.nexus("models", "--json", "load", "a", "one")
        assert (done.code, "written after it" in done.err) == (2, True)
        assert [one["id"] for one in (await here.nexus("models", "--json")).json()] == ["a"]
