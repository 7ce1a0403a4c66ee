"""Exit codes and what is said with them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.contract.cli.terminal import Shell, finished, scene
from tests.support.scripted import ScriptedBackend

COMMANDS = [
    ("backends", "list"),
    ("backends", "drain", "one"),
    ("models",),
    ("health",),
    ("requests",),
    ("requests", "--follow"),
    ("why", "x"),
    ("route", "m"),
]
KEY = "the-management-key"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Where nobody listens: the discard port."""
    return Shell(tmp_path, {"NEXUS_PORT": "9"})


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
async def test_without_a_gateway_it_is_3_with_the_address_and_the_cure(
    shell: Shell, command: tuple[str, ...]
) -> None:
    done = await shell.nexus(*command)
    assert (done.code, done.out) == (3, "")
    assert "http://127.0.0.1:9" in done.err
    assert "nexus serve" in done.err
    assert len(done.err.splitlines()) == 1
    assert "Errno" not in done.err


async def test_another_program_at_the_address_is_no_gateway(shell: Shell) -> None:
    async with ScriptedBackend() as backend:
        done = await shell.also(NEXUS_PORT=str(backend.port)).nexus("models")
    assert done.code == 3
    assert "not a Nexus gateway" in done.err


async def test_the_address_comes_from_url_root_option_environment_and_file(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, ["m"]) as here:
        host, port = here.gateway.url.removeprefix("http://").split(":")
        lost = Shell(here.shell.home, {})
        (here.shell.home / "nexus.toml").write_text(f"[server]\nport = {port}\n")
        by_file = await lost.nexus("health")
        by_variable = await lost.also(NEXUS_PORT="9").nexus("health")
        by_option = await lost.also(NEXUS_PORT="9").nexus("--host", host, "-p", port, "health")
        by_url = await lost.also(NEXUS_PORT="9").nexus("health", "--url", f"{host}:{port}/v1")
        unspecified = await here.shell.nexus("--host", "0.0.0.0", "health")
    assert by_file.code == 0
    assert by_variable.code == 3
    assert by_option.code == 0
    assert by_url.code == 0
    assert unspecified.code == 0


async def test_an_invalid_file_is_2_with_its_line_and_the_nearest_key(shell: Shell) -> None:
    (shell.home / "nexus.toml").write_text("[server]\nprot = 1\n")
    done = await shell.nexus("health")
    assert (done.code, done.out) == (2, "")
    assert "nexus.toml:2" in done.err
    assert "port" in done.err


@pytest.mark.parametrize(
    "command",
    [
        ("fly",),
        ("--port", "70000"),
        ("--log-level", "loud"),
        ("models", "--limit", "3"),
        ("health", "--url", "ftp://x"),
        ("requests", "--limit", "-1"),
        ("route", "m", "--zone", "secret"),
        ("completions", "csh"),
        ("--demo", "models"),
        ("--no-ui", "models"),
    ],
    ids=" ".join,
)
async def test_wrong_usage_is_2(shell: Shell, command: tuple[str, ...]) -> None:
    done = await shell.nexus(*command)
    assert (done.code, done.out) == (2, "")
    assert "Error:" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("command", "meant"), [(("helth",), "health"), (("backends", "drian"), "drain")]
)
async def test_a_mistyped_command_is_told_the_nearest(
    shell: Shell, command: tuple[str, ...], meant: str
) -> None:
    done = await shell.nexus(*command)
    assert done.code == 2
    assert f"Did you mean '{meant}'?" in done.err


async def test_a_traceback_is_shown_at_debug_only(shell: Shell) -> None:
    quiet = await shell.nexus("health")
    loud = await shell.nexus("--log-level", "debug", "health")
    by_variable = await shell.also(NEXUS_LOG_LEVEL="debug").nexus("health")
    assert "Traceback" not in quiet.err
    assert "Traceback" in loud.err
    assert "Traceback" in by_variable.err
    assert [done.code for done in (quiet, loud, by_variable)] == [3, 3, 3]


async def test_the_management_key_is_sent_as_a_bearer_token(shell: Shell) -> None:
    async with ScriptedBackend(headers={"x-nexus-node": "n"}, api_key=KEY) as backend:
        there = shell.also(NEXUS_PORT=str(backend.port))
        without = await there.nexus("models")
        await there.also(NEXUS_API_KEY=KEY).nexus("models")
        sent = [request.header("authorization") for request in backend.requests]
    assert without.code == 1
    assert list(dict.fromkeys(sent)) == [None, f"Bearer {KEY}"]


async def test_an_answer_of_another_version_is_a_sentence(shell: Shell) -> None:
    async with ScriptedBackend(
        headers={"x-nexus-node": "n"}, routes={"/health": {"status": 7}}
    ) as backend:
        done = await shell.also(NEXUS_PORT=str(backend.port)).nexus("health")
    assert done.code == 1
    assert "another version" in done.err


async def test_ctrl_c_ends_a_command_quietly_with_130(tmp_path: Path) -> None:
    async with scene(tmp_path, ["m"]) as here:
        process = await here.shell.start("requests", "--follow")
        assert process.stdout is not None
        await asyncio.wait_for(process.stdout.readline(), 20)
        process.send_signal(signal.SIGINT)
        done = await finished(process)
    assert done.code == 130
    assert "Traceback" not in done.err
    assert done.err.strip() == ""


async def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    async with scene(tmp_path, [f"model-{number}" for number in range(50)]) as here:
        ours, theirs = os.pipe()
        os.close(ours)
        process = await here.shell.start("models", stdout=theirs)
        os.close(theirs)
        done = await finished(process)
    assert done.err == ""
