"""`nexus serve --workers 2` as a process, and its workers as others see them."""

from __future__ import annotations

import asyncio
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from nexus_proxy.tasks import spawn

PATIENCE = 60.0
NEXUS = (sys.executable, "-m", "nexus_proxy")
PROGRAM = "nexus_proxy.cli.worker"


@dataclass
class Workers:
    """The parent's process, what it and its workers said, and where they serve."""

    process: asyncio.subprocess.Process
    url: str = ""
    said: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def text(self) -> str:
        """All that was said."""
        return "".join(self.said)

    async def listen(self) -> None:
        """Take down what they say, until all have ended."""
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            self.said.append(line.decode())
            self._more.set()
        self.said.append("(the end)")
        self._more.set()

    async def says(self, pattern: str, *, times: int = 1) -> re.Match[str]:
        """Wait until it was said so often; the last time."""
        async with asyncio.timeout(PATIENCE):
            while len(found := list(re.finditer(pattern, self.text))) < times:
                assert "(the end)" not in self.said, self.text
                self._more.clear()
                await self._more.wait()
        return found[times - 1]

    async def ended(self) -> int:
        """Wait for the end of the parent and of all its workers; its exit code."""
        async with asyncio.timeout(PATIENCE):
            code = await self.process.wait()
            while "(the end)" not in self.said:
                self._more.clear()
                await self._more.wait()
        return code

    def pids(self) -> dict[int, int]:
        """Process by number of the workers that are there."""
        found = {}
        for entry in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if PROGRAM.encode() in words and int(parent) == self.process.pid:
                    found[int(words[words.index(PROGRAM.encode()) + 1])] = int(entry.name)
        return found

    async def ask(self, **body: Any) -> httpx.Response:
        """A chat request on a connection of its own."""
        async with self.connect() as client:
            return await chat(client, **body)

    def connect(self) -> httpx.AsyncClient:
        """A client. Each of its connections leads to one worker."""
        return httpx.AsyncClient(base_url=self.url, trust_env=False, verify=False, timeout=30)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[dict[int, httpx.AsyncClient]]:
        """A client for each of two workers, that keeps to it."""
        clients: dict[int, httpx.AsyncClient] = {}
        spare: list[httpx.AsyncClient] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while len(clients) < 2:
                    client = self.connect()
                    spare.append(client)
                    clients.setdefault(await worker_of(client), client)
            yield clients
        finally:
            for client in spare:
                await client.aclose()


async def worker_of(client: httpx.AsyncClient) -> int:
    """The worker at the other end of a client's connection."""
    return int((await client.get("/health/live")).json()["worker"])


async def chat(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    """A short chat request."""
    messages = [{"role": "user", "content": "hi"}]
    return await client.post(
        "/v1/chat/completions", json={"model": "m", "messages": messages, **body}
    )


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it holds, of something that tells nobody when it changes."""
    async with asyncio.timeout(PATIENCE):
        while not await condition():  # noqa: ASYNC110 it happens in another process
            await asyncio.sleep(0.05)


@asynccontextmanager
async def started(*arguments: str) -> AsyncIterator[Workers]:
    """`nexus serve` with these arguments; at the end killed, with all its workers, if need be."""
    process = await asyncio.create_subprocess_exec(
        *NEXUS, "serve", "--port", "0", *arguments, stderr=asyncio.subprocess.PIPE
    )
    workers = Workers(process)
    listening = spawn(workers.listen(), name="listen")
    try:
        yield workers
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
        with suppress(ProcessLookupError):
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        await listening


@asynccontextmanager
async def two_workers(config: str, *more: str, up: int = 1) -> AsyncIterator[Workers]:
    """Two workers that are ready, with `up` backends up in each."""
    async with started("--workers", "2", "--no-discovery", "-c", config, *more) as workers:
        workers.url = (await workers.says(r"serves at (http://\S+), with 2 workers")).group(1)
        await workers.says(r"is up\b", times=2 * up)
        yield workers
