"""The demo's llama.cpp server: it answers, and nothing of it is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

import nexus_proxy
from nexus_proxy.demo import DemoBackend, backend, packages
from nexus_proxy.errors import DemoError

pytestmark = pytest.mark.real

SOURCES = Path(nexus_proxy.__file__).parents[1]
QUESTION = {"role": "user", "content": "What is the capital of France?"}
WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
GATEWAY_TO_KILL = """
import asyncio
import uvloop
from nexus_proxy.demo import DemoBackend

async def main():
    demo = DemoBackend()
    url = await demo.start()
    print(demo.pid, url, flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


@pytest.fixture(autouse=True)
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that log files go to."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
async def demo() -> AsyncIterator[DemoBackend]:
    demo = DemoBackend()
    yield demo
    await demo.stop()


async def post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
        response = await client.post(url, json={"model": "smollm2", **body})
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def is_refused(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


async def has_exited(pid: int) -> bool:
    """Wait until a process is no more, or only waits to be reaped by somebody else."""
    exited = asyncio.Event()
    handle = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, exited.set)
    try:
        async with asyncio.timeout(10):
            return await exited.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


async def test_answers_and_leaves_nothing(demo: DemoBackend, logs: Path) -> None:
    url = await demo.start()
    pid = demo.pid
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0), "Ctrl-C in our terminal must not reach it"

    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        model = (await client.get("/v1/models")).json()["data"][0]
        slots = (await client.get("/slots")).json()
    assert (model["id"], model["owned_by"]) == ("smollm2", "llamacpp")
    assert [slot["n_ctx"] for slot in slots] == [4096, 4096]

    answer = await post(f"{url}/v1/chat/completions", {"messages": [QUESTION], "max_tokens": 16})
    assert "Paris" in answer["choices"][0]["message"]["content"]
    vectors = await post(f"{url}/v1/embeddings", {"input": ["one", "two"]})
    assert [len(vector["embedding"]) for vector in vectors["data"]] == [576, 576]

    await demo.stop()
    assert demo.returncode == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert is_refused(httpx.URL(url).port or 0)
    assert files_in(logs) == []
    await demo.stop()


async def test_calls_a_tool(demo: DemoBackend) -> None:
    url = await demo.start()
    body = {
        "messages": [
            {"role": "user", "content": "What is the weather in Paris?"},
            # Prefilled: a model this small would talk first and forget to call.
            {"role": "assistant", "content": "<tool_call>\n"},
        ],
        "tools": [WEATHER_TOOL],
        "tool_choice": "required",
        "max_tokens": 64,
    }
    choice = (await post(f"{url}/v1/chat/completions", body))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"


def test_holds_none_of_our_sockets() -> None:
    async def port_is_free_again() -> bool:
        demo = DemoBackend()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.set_inheritable(True)
            port = listener.getsockname()[1]
            await demo.start()
        try:
            return is_refused(port)
        finally:
            await demo.stop()

    assert uvloop.run(port_is_free_again()), "uvloop, unlike asyncio, closes nothing at a fork"


async def test_dies_with_a_gateway_that_is_killed(logs: Path) -> None:
    gateway = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GATEWAY_TO_KILL,
        stdout=asyncio.subprocess.PIPE,
        cwd=SOURCES,
        env={**os.environ, "TMPDIR": str(logs)},
    )
    assert gateway.stdout is not None
    pid, url = (await gateway.stdout.readline()).decode().split()
    assert not is_refused(httpx.URL(url).port or 0)
    gateway.kill()
    await gateway.wait()
    assert await has_exited(int(pid))
    assert is_refused(httpx.URL(url).port or 0)


async def test_tells_of_a_crash_and_keeps_the_log(logs: Path) -> None:
    crashed: asyncio.Queue[DemoError] = asyncio.Queue()
    demo = DemoBackend(on_crash=crashed.put_nowait)
    await demo.start()
    assert demo.pid is not None
    os.kill(demo.pid, signal.SIGKILL)
    async with asyncio.timeout(5):
        error = await crashed.get()
    assert "exit code -9" in error.message
    assert demo.returncode == -signal.SIGKILL
    await demo.stop()
    (log,) = files_in(logs)
    assert str(log) in error.message

    await demo.start()
    assert demo.returncode is None, "it can be started again"
    await demo.stop()


async def test_a_broken_model_is_told_with_the_end_of_the_log(
    demo: DemoBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF but not really")
    monkeypatch.setattr(packages, "model_file", lambda: broken)
    with pytest.raises(DemoError, match="exit code 1 while it started") as failure:
        await demo.start()
    assert "broken.gguf" in failure.value.message
    assert demo.returncode is not None


async def test_gives_up_on_a_server_that_does_not_come_up(
    demo: DemoBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend, "START_SECONDS", 0.01)
    with pytest.raises(DemoError, match=r"did not answer within 0\.01 s"):
        await demo.start()
    assert demo.returncode is not None
