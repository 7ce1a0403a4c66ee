"""`nexus backends …`: each verb of the table acts on the running gateway and is kept."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import Callable
from pathlib import Path

import pytest

from nexus_proxy.cli.root import build
from nexus_proxy.commands import COMMANDS
from nexus_proxy.config.model import Zone
from nexus_proxy.registry import Backend
from tests.architecture.test_docs import commands
from tests.contract.cli.terminal import Done, Scene, finished, scene
from tests.support.scripted import Answer, ScriptedBackend


async def answering(here: Scene, typed: bytes, *arguments: str) -> Done:
    """Run a command with a terminal as its standard input, and type into it."""
    ours, theirs = pty.openpty()
    try:
        process = await here.shell.start(*arguments, stdin=theirs)
        os.write(ours, typed)
        return await finished(process)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("command", "became"),
    [
        ("drain one", lambda b: b.drained),
        ("zone one Internal", lambda b: b.zone is Zone.INTERNAL),
        ("priority one 7", lambda b: b.priority == 7),
        ("tags one fast gpu", lambda b: b.tags == ("fast", "gpu")),
    ],
)
async def test_a_verb_acts_says_so_and_is_kept(
    tmp_path: Path, command: str, became: Callable[[Backend], bool]
) -> None:
    async with scene(tmp_path, ["m"]) as here:
        before = here.file.read_text()
        done = await here.nexus("backends", *command.split())
        assert done.code == 0, done.err
        assert done.out.startswith("one ")
        assert became(here.gateway.runtime.registry.get("one"))
        assert here.file.read_text() != before


async def test_drain_and_resume_are_opposites(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        await here.nexus("backends", "drain", "one")
        done = await here.nexus("backends", "resume", "one", "--json")
        assert not here.gateway.runtime.registry.get("one").drained
    assert done.json() == {
        "message": "one takes requests again",
        "data": {},
        "inverse": {"verb": "backend.drain", "arguments": {"backend": "one"}},
    }


async def test_pin_and_unpin(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"], ["m"]) as here:
        await here.nexus("backends", "pin", "m", "two")
        assert here.gateway.runtime.registry.pins == {"m": "two"}
        done = await here.nexus("backends", "unpin", "m")
        assert here.gateway.runtime.registry.pins == {}
    assert done.code == 0


async def test_a_request_is_cancelled_by_its_id(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        here.backends[0].behave(Answer(hold_before="headers"))
        asking = asyncio.ensure_future(here.gateway.chat())  # noqa: TID251 - it is the client
        await here.backends[0].until(lambda: len(here.backends[0].generations) == 1)
        name = here.gateway.runtime.snapshot().requests[0].id
        done = await here.nexus("requests", "cancel", name)
        assert (done.code, done.out) == (0, f"{name} cancelled; its client was told\n")
        assert (await asking).json()["error"]["code"] == "cancelled_by_operator"
        again = await here.nexus("requests", "cancel", name)
    assert again.code == 1
    assert f"no request '{name}' runs" in again.err


async def test_add_finds_out_what_answers_and_remove_forgets_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as here, ScriptedBackend(["new"], owned_by="vllm") as other:
        other.routes["/version"] = {"version": "0.32.0"}
        added = await here.nexus("backends", "add", f"{other.url}/v1/", "--name", "box", "--json")
        assert added.json()["data"] == {"backend": "box", "type": "vllm", "state": "up"}
        assert 'name = "box"' in here.file.read_text()
        again = await here.nexus("backends", "add", other.url)
        removed = await here.nexus("backends", "remove", "box")
        assert "box" not in here.gateway.runtime.registry
        assert "box" not in here.file.read_text()
    assert again.code == 1
    assert "'box' already" in again.err
    assert removed.out.startswith("box removed")


def test_every_verb_of_the_table_has_its_command() -> None:
    known = {name for name, _ in commands(build())}
    for verb in COMMANDS:
        noun, _, does = verb.name.partition(".")
        group = {"alias": "aliases", "config": "config"}.get(noun, f"{noun}s")
        command = does if noun == "gateway" else f"{group} {does}"
        assert f"nexus {command}" in known, verb.name


async def test_a_destructive_verb_asks_first_and_heeds_a_no(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await answering(here, b"n\n", "backends", "drain", "one")
        assert not here.gateway.runtime.registry.get("one").drained
    assert done.code == 1
    assert "nobody else serves m" in done.err
    assert "nothing was changed" in done.err
    assert done.out == ""


async def test_a_yes_goes_on(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await answering(here, b"y\n", "backends", "remove", "one")
        assert "one" not in here.gateway.runtime.registry
    assert done.code == 0


async def test_trusting_a_backend_with_closer_prompts_takes_its_name(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        registry = here.gateway.runtime.registry
        registry.set_zone("one", Zone.INTERNAL)
        refused = await answering(here, b"y\n", "backends", "zone", "one", "restricted")
        assert registry.get("one").zone is Zone.INTERNAL
        done = await answering(here, b"one\n", "backends", "zone", "one", "restricted")
        assert registry.get("one").zone is Zone.RESTRICTED
        unasked = await answering(here, b"", "backends", "zone", "one", "open")
    assert refused.code == 1
    assert "from internal to restricted" in refused.err
    assert done.code == 0
    assert (unasked.code, unasked.err) == (0, "")


async def test_yes_does_not_ask(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await answering(here, b"", "backends", "drain", "one", "--yes")
        assert here.gateway.runtime.registry.get("one").drained
    assert done.code == 0
    assert done.err == ""


async def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.nexus("backends", "drain", "one")
    assert done.code == 0
    assert done.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("drain nobody", 1, "there are: one"),
        ("unpin m", 1, "not pinned"),
        ("add not-a-url:x", 1, "port"),
        ("zone one secret", 2, "restricted"),
        ("priority one high", 2, "integer"),
        ("drain", 2, "NAME"),
        ("fly one", 2, "fly"),
    ],
)
async def test_what_cannot_be_done_says_why(
    tmp_path: Path, arguments: str, code: int, said: str
) -> None:
    async with scene(tmp_path, ["m"]) as here:
        done = await here.nexus("backends", *arguments.split())
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert "Traceback" not in done.err


async def test_airplane_mode_is_switched_shown_in_the_list_and_refuses_other_words(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, ["m"]) as here:
        here.gateway.runtime.registry.set_zone("one", Zone.OPEN)
        done = await here.nexus("airplane", "on")
        assert done.code == 0, done.err
        assert here.gateway.runtime.registry.airplane
        listed = await here.nexus("backends", "list")
        assert "airplane mode" in listed.out
        assert "nexus airplane off" in listed.err
        await here.nexus("airplane", "off")
        assert not here.gateway.runtime.registry.airplane
        assert (await here.nexus("airplane", "maybe")).code == 2
