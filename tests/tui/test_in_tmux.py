"""`nexus` as people run it: in a tmux, driven by keys and mouse, read from its screen."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.scripted import Answer, ScriptedBackend
from tests.support.tmux import Tmux, in_tmux

NEXUS = (sys.executable, "-m", "nexus_tui.main", "--no-discovery", "--port", "0")
STORM = [(columns, 4 + columns % 67) for columns in range(20, 250, 7)]


@pytest.fixture
async def backend() -> AsyncIterator[ScriptedBackend]:
    async with ScriptedBackend(["m", "other"], name="one") as backend:
        yield backend


@asynccontextmanager
async def nexus(backend: ScriptedBackend, folder: Path) -> AsyncIterator[tuple[Tmux, str]]:
    """A gateway before `backend` on the screen of a tmux, and its address."""
    path = folder / "nexus.toml"
    path.write_text(f'[[backends]]\nname = "one"\nurl = "{backend.url}"\ntype = "generic"\n')
    async with in_tmux(*NEXUS, "-c", str(path), folder=folder) as tmux:
        found = re.search(r"http://127\.0\.0\.1:\d+", await tmux.sees("1/1 up"))
        assert found is not None
        yield tmux, found.group()


async def ask(url: str, model: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=False, timeout=30) as client:
        said = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        return await client.post("/v1/chat/completions", json=said)


async def left(tmux: Tmux) -> None:
    """The shell is there again, and all that it had before."""
    await tmux.sees("before it", "ended 0", "line as it was")
    assert await tmux.is_restored()


async def test_a_working_day_by_keys(backend: ScriptedBackend, tmp_path: Path) -> None:
    async with nexus(backend, tmp_path) as (tmux, url):
        for model in ("m", "m", "other"):
            assert (await ask(url, model)).status_code == 200
        await tmux.press("2")
        await tmux.sees("Zone", "● up", "generic")
        backend.behave(Answer(hold_before=1))
        asking = asyncio.get_running_loop().create_task(ask(url, "m"))
        await tmux.sees("1 in flight")
        await tmux.press("d")
        await tmux.sees("Drain one?", "1 request in flight will finish", "nobody else serves")
        await tmux.press("y")
        await tmux.sees("◐ draining", "u undoes it")
        backend.release()
        assert (await asking).status_code == 200
        await tmux.press("u")
        await tmux.sees("Undone: one drains", "● up")
        await tmux.press("4", "/")
        await tmux.sees("esc clears")
        await tmux.type("model:other")
        await tmux.sees("1 of 4")
        await tmux.press("Escape")
        await tmux.misses("model:other")
        await tmux.press("?")
        await tmux.sees("On this screen", "Show only rows with words")
        await tmux.press("Escape")
        await tmux.misses("On this screen")
        await tmux.press("q")
        await left(tmux)


async def test_a_storm_of_sizes(backend: ScriptedBackend, tmp_path: Path) -> None:
    async with nexus(backend, tmp_path) as (tmux, url):
        for tab in "12":
            await tmux.press(tab)
            for columns, rows in STORM:
                await tmux.resize(columns, rows)
        assert (await ask(url, "m")).status_code == 200
        await tmux.resize(50, 10)
        await tmux.sees("Terminal too small: 60×16 needed")
        await tmux.resize(80, 24)
        text = await tmux.sees("1/1 up", "▌one", "generic", "enter Detail", "q Quit")
        assert len(text.splitlines()) == 24
        await tmux.press("q")
        await left(tmux)


async def test_by_mouse_alone(backend: ScriptedBackend, tmp_path: Path) -> None:
    async with nexus(backend, tmp_path) as (tmux, _):
        await tmux.click("2Backends", "Zone", "d Drain")
        await tmux.click("Drain", "Drain one?")
        await tmux.click("Cancel", "d Drain")
        await tmux.misses("Drain one?")
        await tmux.click("Quit", "ended 0")
        await left(tmux)
