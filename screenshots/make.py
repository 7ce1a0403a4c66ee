"""Take the README's pictures: `python screenshots/make.py [name …]`.

Everything in them is real: a gateway with the demo's llama.cpp server and model behind it, asked
by several clients at once over HTTP while the pictures are taken, and one backend that is not
there. PNGs are photographs of the SVGs in a real Chromium (`apt-get install chromium`, and
`fonts-dejavu-core` for the letters).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from textual.pilot import Pilot

from nexus_proxy.cli.assemble import gateway
from nexus_proxy.cli.bound import open_socket, read_config
from nexus_proxy.cli.demo import demo_backend
from nexus_proxy.cli.options import RunOptions
from nexus_proxy.runtime import Runtime
from nexus_proxy.tasks import spawn
from nexus_tui.app import NexusApp
from nexus_tui.screens.dashboard import Dashboard
from nexus_tui.source.base import Source
from nexus_tui.source.in_process import RuntimeSource

sys.path.append(str(Path(__file__).parents[1]))
from tests.support.browser import Connection, chromium, driven

FOLDER = Path(__file__).parent
PATIENCE = 20.0
"""Seconds until what a scene wants to see is there."""

CONFIG = """\
[discovery]
enabled = false

[routing.aliases]
"gpt-4o-mini" = "smollm2"

[[backends]]
name = "gpu-box"
url = "http://127.0.0.1:9"
type = "vllm"
zone = "internal"
tags = ["gpu"]
"""

QUESTIONS = (
    ("smollm2", "Tell me a long story about a lighthouse keeper.", True, 400),
    ("gpt-4o-mini", "List ten uses of a paper clip.", True, 300),
    ("smollm2", "What is the capital of Switzerland?", False, 40),
    ("smollm2", "Translate 'good morning' into French.", True, 60),
)
"""(model, question, streamed, most tokens) of the clients that ask again and again."""


WARM_REQUESTS = 16
"""Requests that have come in before the first picture is taken."""


@dataclass(frozen=True)
class Scene:
    """One picture: what is pressed before it is taken, what must be seen then, and how large the
    terminal is."""

    name: str
    keys: Sequence[str] = ()
    sees: str = ""
    size: tuple[int, int] = (120, 32)
    theme: str = "nexus-dark"


SCENES = (
    Scene("overview"),
    Scene("backends", ("2",)),
    Scene("models", ("3",), sees="▶"),
    Scene("requests", ("4",)),
    Scene("request", ("4", "slash", *"gpt", "enter", "enter"), size=(120, 40)),
    Scene("logs", ("8",)),
    Scene("light", ("2", "j"), theme="nexus-light"),
    Scene("small", size=(80, 24)),
)


async def take(source: Source, scenes: Sequence[Scene]) -> None:
    """Play each scene over `source` and write `<name>.svg`."""
    for scene in scenes:
        app = NexusApp(source, theme=scene.theme)
        async with app.run_test(size=scene.size) as pilot:
            await _play(pilot, app, scene)
            svg = app.export_screenshot(title="nexus")
        (FOLDER / f"{scene.name}.svg").write_text(svg, encoding="utf-8")
        print(f"took {scene.name}")


async def _play(pilot: Pilot[Any], app: NexusApp, scene: Scene) -> None:
    dashboard = app.screen_stack[0]
    assert isinstance(dashboard, Dashboard)
    async with asyncio.timeout(PATIENCE):
        while dashboard.snapshot is None:
            await pilot.pause(0.05)
        await pilot.press(*scene.keys)
        await pilot.pause(0.6)
        while scene.sees not in app.export_screenshot():
            await pilot.pause(0.1)


async def photograph(browser: Connection, scenes: Sequence[Scene]) -> None:
    """Write `<name>.png` of each `<name>.svg`."""
    page = await browser.page()
    for scene in scenes:
        svg = FOLDER / f"{scene.name}.svg"
        found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg.read_text(encoding="utf-8"))
        assert found is not None, f"{svg} does not say how large it is"
        await page.resize(*(math.ceil(float(length)) for length in found.groups()), scale=1.0)
        await page.open(svg.as_uri())
        await page.picture(svg.with_suffix(".png"))


@asynccontextmanager
async def busy_gateway(config: str = CONFIG) -> AsyncIterator[Runtime]:
    """What `nexus --demo` runs, with clients that keep it busy."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nexus.toml"
        own = f'[state]\npath = "{folder}/nexus.db"\n\n'  # not what its maker has spent
        path.write_text(own + config, encoding="utf-8")
        options = RunOptions(config=str(path), demo=True)
        loaded = read_config(options)
        async with gateway(options, loaded, open_socket(loaded), to_stderr=False) as running:
            await running.start()
            async with demo_backend(running.runtime, wanted=True), _clients(running.runtime):
                yield running.runtime


@asynccontextmanager
async def _clients(runtime: Runtime) -> AsyncIterator[None]:
    """Clients that ask until the end; ready when there is something to see."""
    async with httpx.AsyncClient(base_url=runtime.endpoint, timeout=120, trust_env=False) as client:
        await _ask(client, "no-such-model", "Is anybody there?", stream=False, most=10)
        changed = asyncio.Event()
        unsubscribe = runtime.bus.subscribe(lambda _event: changed.set())
        asking = [
            spawn(_ask_on(client, *question), name=f"client {number}")
            for number, question in enumerate(QUESTIONS)
        ]
        try:
            while runtime.snapshot().totals.requests < WARM_REQUESTS:
                await changed.wait()
                changed.clear()
            yield
        finally:
            unsubscribe()
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)


async def _ask_on(
    client: httpx.AsyncClient, model: str, question: str, stream: bool, most: int
) -> None:
    while True:
        with contextlib.suppress(httpx.HTTPError):
            await _ask(client, model, question, stream=stream, most=most)
        await asyncio.sleep(2)


async def _ask(
    client: httpx.AsyncClient, model: str, question: str, *, stream: bool, most: int
) -> None:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "stream": stream,
        "max_tokens": most,
    }
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        async for _ in response.aiter_raw():
            pass


async def main(wanted: Sequence[str], address: str) -> None:
    scenes = [scene for scene in SCENES if not wanted or scene.name in wanted]
    async with busy_gateway() as runtime:
        await take(RuntimeSource(runtime), scenes)
    async with driven(address) as browser:
        await photograph(browser, scenes)


if __name__ == "__main__":
    with chromium() as devtools:
        asyncio.run(main(sys.argv[1:], devtools))
