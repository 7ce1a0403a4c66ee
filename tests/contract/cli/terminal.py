"""The real command in a process of its own, against a gateway in this one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway import RunningGateway, backend_entry, running_gateway
from tests.support.scripted import ScriptedBackend

SECONDS = 30.0


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Shell:
    """Where commands run: an empty home, and the variables that lead to a gateway."""

    home: Path
    variables: Mapping[str, str]

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "PYTHONUTF8": "1",
            **self.variables,
        }

    async def start(
        self, *arguments: str, stdin: int | None = None, stdout: int | None = None
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "nexus_proxy",
            *arguments,
            env=self.environ,
            cwd=self.home,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.PIPE if stdout is None else stdout,
            stderr=asyncio.subprocess.PIPE,
        )

    async def nexus(self, *arguments: str) -> Done:
        """Run a command to its end."""
        process = await self.start(*arguments)
        return await finished(process)

    def also(self, **variables: str) -> Shell:
        return Shell(self.home, {**self.variables, **variables})


async def finished(process: asyncio.subprocess.Process, typed: bytes | None = None) -> Done:
    """Wait for the end; kill what does not come to one."""
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await process.communicate(typed)
    except TimeoutError:
        process.send_signal(signal.SIGKILL)
        await process.wait()
        raise
    assert process.returncode is not None
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


@dataclass(frozen=True)
class Scene:
    """A gateway over some backends, and a shell that finds it."""

    gateway: RunningGateway
    backends: Sequence[ScriptedBackend]
    shell: Shell
    file: Path

    async def nexus(self, *arguments: str) -> Done:
        return await self.shell.nexus(*arguments)


@asynccontextmanager
async def scene(
    tmp_path: Path, *models: Sequence[Any], kind: str = "vllm", **tables: Any
) -> AsyncIterator[Scene]:
    """One backend for each list of models, called `one`, `two`, `three`."""
    backends = [ScriptedBackend(ids) for ids in models]
    async with scene_of(tmp_path, backends, kind=kind, **tables) as here:
        yield here


@asynccontextmanager
async def scene_of(
    tmp_path: Path, backends: Sequence[ScriptedBackend], *, kind: str, **tables: Any
) -> AsyncIterator[Scene]:
    """These backends, called `one`, `two`, `three`."""
    async with AsyncExitStack() as stack:
        for backend in backends:
            await stack.enter_async_context(backend)
        names = ("one", "two", "three")
        entries = [
            backend_entry(name, backend.url, type=kind)
            for name, backend in zip(names, backends, strict=False)
        ]
        file = tmp_path / "gateway.toml"
        file.write_text(
            "".join(
                f'[[backends]]\nname = "{e["name"]}"\nurl = "{e["url"]}"\ntype = "{kind}"\n'
                for e in entries
            )
        )
        gateway = await stack.enter_async_context(running_gateway(entries, path=file, **tables))
        port = gateway.url.rpartition(":")[2]
        home = tmp_path / "home"
        home.mkdir()
        yield Scene(gateway, backends, Shell(home, {"NEXUS_PORT": port}), file)
