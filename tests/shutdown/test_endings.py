"""Every way in which nexus ends: the terminal is restored, requests finish, exit codes hold."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.scripted import Answer, ScriptedBackend, faults
from tests.support.terminal import Terminal, in_terminal

NEXUS = ("-m", "nexus_tui.main")
CRASHING = str(Path(__file__).with_name("crashing.py"))
QUIET = ("--no-discovery", "--port", "0")
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
IGNORING_HUP = ("/bin/sh", "-c", 'trap "" HUP; exec "$@"', "nohup")
LOG_ELSEWHERE = """
import os, sys
os.dup2(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), 2)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
F12 = "\x1b[24~"


def address(text: str) -> str:
    """The endpoint that a screen or a log names."""
    found = re.search(r"http://127\.0\.0\.1:\d+", text)
    assert found, text
    return found.group()


async def on_screen(terminal: Terminal) -> str:
    """Wait for the first screen with the backend up; its endpoint."""
    await terminal.shows("1/1 up")
    return address(terminal.text)


async def ask(url: str, **body: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=30) as client:
        return await client.post(
            "/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "hi"}], **body},
        )


async def test_q_quits(config: str) -> None:
    async with in_terminal([*NEXUS, *QUIET, "-c", config]) as terminal:
        await on_screen(terminal)
        terminal.type("q")
        assert await terminal.exit_code() == 0
        assert terminal.restored


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_ends_the_screen_cleanly(config: str, number: signal.Signals) -> None:
    async with in_terminal([*NEXUS, *QUIET, "-c", config]) as terminal:
        await on_screen(terminal)
        terminal.signal(number)
        assert await terminal.exit_code() == 0
        assert terminal.restored


async def test_a_log_that_is_redirected_gets_the_log_and_no_screen(
    config: str, tmp_path: Path
) -> None:
    log = tmp_path / "nexus.log"
    async with in_terminal(
        ["-c", LOG_ELSEWHERE, str(log), *NEXUS, *QUIET, "-c", config]
    ) as terminal:
        await terminal.shows("running without it")
    assert "\x1b" not in log.read_text()


async def test_quitting_with_a_request_in_flight_asks_and_drains(
    config: str, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before=3))
    async with in_terminal([*NEXUS, *QUIET, "-c", config]) as terminal:
        url = await on_screen(terminal)
        asking = asyncio.get_running_loop().create_task(ask(url, stream=True))
        await terminal.shows("1 in flight")
        terminal.type("q")
        await terminal.shows("Drain")
        terminal.type("d")
        await terminal.until(lambda: terminal.restored)
        backend.release()
        answer = await asking
        assert answer.text.endswith("data: [DONE]\n\n")
        assert await terminal.exit_code() == 0


async def test_a_crash_of_the_screen_leaves_the_gateway_serving(config: str) -> None:
    async with in_terminal([CRASHING, *QUIET, "-c", config]) as terminal:
        url = await on_screen(terminal)
        terminal.type(F12)
        await terminal.until(lambda: b"still serves" in terminal.output)
        assert terminal.restored
        terminal.signal(signal.SIGCONT)  # as `fg` does, and the end of a session
        assert (await ask(url)).status_code == 200
        assert terminal.restored
        assert f"nexus attach {url}".encode() in terminal.output
        terminal.signal(signal.SIGINT)
        assert await terminal.exit_code() == 1


# -- headless ----------------------------------------------------------------------------------


async def headless(
    config: str, *more: str, before: Sequence[str] = ()
) -> tuple[asyncio.subprocess.Process, str]:
    """A gateway without a terminal, and its endpoint once it serves. `before` its command."""
    process = await asyncio.create_subprocess_exec(
        *before,
        sys.executable,
        *NEXUS,
        *QUIET,
        "-c",
        config,
        *more,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ},
    )
    assert process.stderr is not None
    seen = ""
    async with asyncio.timeout(20):
        while "serves at" not in seen or "one is up" not in seen:
            line = (await process.stderr.readline()).decode()
            assert line, f"it ended: {seen}"
            seen += line
    return process, seen


async def test_without_a_terminal_it_runs_headless_and_says_so(config: str) -> None:
    process, seen = await headless(config)
    said = [line for line in seen.splitlines() if "terminal" in line.lower()]
    assert len(said) == 1
    assert "\x1b" not in seen
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_drains_a_headless_gateway(
    config: str, backend: ScriptedBackend, number: signal.Signals
) -> None:
    backend.behave(Answer(hold_before=3))
    process, seen = await headless(config, "--no-ui")
    url = address(seen)
    asking = asyncio.get_running_loop().create_task(ask(url, stream=True))
    await backend.until(lambda: bool(backend.generations))
    process.send_signal(number)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"draining" not in (line := await process.stderr.readline()):
            assert line
    refused = await ask(url)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "gateway_stopping"
    backend.release()
    assert (await asking).text.endswith("data: [DONE]\n\n")
    assert await process.wait() == 0


async def test_nohup_keeps_it_alive_when_the_terminal_closes(config: str) -> None:
    process, seen = await headless(config, "--no-ui", before=IGNORING_HUP)
    process.send_signal(signal.SIGHUP)
    assert (await ask(address(seen))).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert process.stderr is not None
    assert (await process.stderr.read()).count(b"draining") == 1


async def test_a_second_signal_does_not_wait(config: str, backend: ScriptedBackend) -> None:
    backend.behave(faults.hang)
    process, seen = await headless(config, "--no-ui")
    asking = asyncio.get_running_loop().create_task(ask(address(seen)))
    await backend.until(lambda: bool(backend.generations))
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    async with asyncio.timeout(20):
        while b"draining" not in await process.stderr.readline():
            pass
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(10):
        assert await process.wait() == 0
    with pytest.raises(httpx.HTTPError):
        (await asking).raise_for_status()


async def test_a_port_in_use_is_a_sentence_that_says_by_whom(
    config: str, backend: ScriptedBackend
) -> None:
    def start() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *NEXUS, "--no-ui", "--port", str(backend.port), "-c", config],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    done = await asyncio.to_thread(start)
    assert done.returncode == 1
    assert f"127.0.0.1:{backend.port} is in use by" in done.stderr
    assert "OpenAI" in done.stderr
    assert "nexus --port" in done.stderr
    assert "list it as a backend" in done.stderr
    assert "Traceback" not in done.stderr
