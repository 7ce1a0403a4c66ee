"""The main job as a newcomer does it: `nexus --demo`, then curl and the SDK, then Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.support.curl import curl

pytestmark = pytest.mark.real

START_SECONDS = 40.0
QUESTION = {"role": "user", "content": "What is the capital of France?"}


class Demo:
    """A running `nexus --no-ui --demo`, by its address and its process."""

    def __init__(self, url: str, process: asyncio.subprocess.Process) -> None:
        self.url, self.process = url, process


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nexus_proxy", "--no-ui", "--demo", "--no-discovery"),
        *("--port", "0"),
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            ready = await _ready(process)
        yield ready
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _ready(process: asyncio.subprocess.Process) -> Demo:
    """Read the log until the address is told and the demo's backend is up."""
    assert process.stderr is not None
    url = ""
    async for line in process.stderr:
        said = line.decode()
        if told := re.search(r"serves at (http://\S+)", said):
            url = told[1]
        if "is up" in said and url:
            return Demo(url, process)
    raise AssertionError("it ended before it served")


async def test_it_answers_curl_and_the_sdk_and_leaves_nothing(demo: Demo) -> None:
    listed = json.loads(await curl(f"{demo.url}/v1/models"))
    model = listed["data"][0]["id"]
    body = {"model": model, "messages": [QUESTION], "max_tokens": 16}
    sends = ("-H", "content-type: application/json", "-d")
    chat = f"{demo.url}/v1/chat/completions"

    whole = json.loads(await curl(chat, *sends, json.dumps(body)))
    assert "Paris" in whole["choices"][0]["message"]["content"]
    streamed = await curl("-N", chat, *sends, json.dumps({**body, "stream": True}))
    assert streamed.count(b"\n\ndata: ") > 3
    assert streamed.endswith(b"data: [DONE]\n\n")
    health = json.loads(await curl(f"{demo.url}/health"))
    assert health["status"] == "healthy"

    async with openai.AsyncOpenAI(base_url=f"{demo.url}/v1", api_key="x") as sdk:
        vectors = await sdk.embeddings.create(model=model, input=["one", "two"])
        assert [len(item.embedding) for item in vectors.data] == [576, 576]

    async with httpx.AsyncClient(trust_env=False) as client:
        state = (await client.get(f"{demo.url}/nexus/v1/state")).json()
    backend = state["backends"][0]["url"]
    demo.process.send_signal(signal.SIGINT)
    async with asyncio.timeout(15):
        assert demo.process.stderr is not None
        await demo.process.stderr.read()
        assert await demo.process.wait() in (0, 130)
    async with httpx.AsyncClient(trust_env=False) as client:
        for gone in (demo.url, backend):
            with pytest.raises(httpx.ConnectError):
                await client.get(gone)
