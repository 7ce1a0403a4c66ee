"""A terminal that stops reading must not stop the gateway: Textual's own writer would."""

from __future__ import annotations

import asyncio
import signal
import time

import httpx

from tests.shutdown.test_endings import NEXUS, QUIET, ask, on_screen
from tests.support.scripted import Answer, ScriptedBackend
from tests.support.terminal import in_terminal

STALLED_SECONDS = 9.0
"""Long enough to fill the pseudo-terminal and a queue of thirty writes at four frames a second
nearly twice over: without the driver the gateway stood still after five."""
PATIENT = 5.0


async def test_a_terminal_that_does_not_read_does_not_stop_the_gateway(
    config: str, backend: ScriptedBackend
) -> None:
    async with in_terminal([*NEXUS, *QUIET, "-c", config], columns=160, rows=50) as terminal:
        url = await on_screen(terminal)
        terminal.type("3")
        terminal.stall()
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENT) as client:
            until = time.monotonic() + STALLED_SECONDS
            while time.monotonic() < until:
                body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
                answer = await client.post("/v1/chat/completions", json=body)
                assert answer.status_code == 200
                await asyncio.sleep(0.02)
        terminal.resume()
        await ask(url)
        sent = len(backend.generations)
        await terminal.shows(f"{sent:,} requests")
        terminal.type("q")
        assert await terminal.exit_code() == 0
        assert terminal.restored


async def test_a_stalled_terminal_does_not_keep_the_process_alive(config: str) -> None:
    async with in_terminal([*NEXUS, *QUIET, "-c", config], columns=160, rows=50) as terminal:
        url = await on_screen(terminal)
        terminal.type("3")
        terminal.stall()
        for _ in range(400):
            await ask(url)
        terminal.signal(signal.SIGTERM)
        assert await terminal.exit_code() == 0


async def test_a_terminal_that_vanishes_ends_it_like_a_hang_up(
    config: str, backend: ScriptedBackend
) -> None:
    backend.behave(Answer(hold_before=1))
    async with in_terminal([*NEXUS, *QUIET, "-c", config]) as terminal:
        asking = asyncio.get_running_loop().create_task(ask(await on_screen(terminal)))
        await terminal.shows("1 in flight")
        terminal.vanish()
        backend.release()
        assert (await asking).status_code == 200
        assert await terminal.exit_code() == 0
