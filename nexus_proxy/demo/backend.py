"""Starts, watches and stops the demo's llama.cpp server, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from nexus_proxy.demo import packages
from nexus_proxy.errors import DemoError
from nexus_proxy.tasks import spawn

log = logging.getLogger(__name__)

START_SECONDS = 60.0
STOP_SECONDS = 5.0
SERVER = Path(__file__).with_name("server.py")
TAIL_LINES = 6


class DemoBackend:
    """A real llama.cpp server with a small model, on a free loopback port.

    It lives in a process and a session of its own: Ctrl-C in the terminal does not reach it, it
    gets none of the gateway's sockets, and it ends by itself when the gateway dies, in whatever
    way. What it logs goes to a temporary file that is kept only when something went wrong.

    Args:
        on_crash: told, on the loop, when the server ends without `stop` having been called; by
            default that is logged.
    """

    def __init__(self, *, on_crash: Callable[[DemoError], None] | None = None) -> None:
        self._on_crash = on_crash or _log_crash
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._log_path: Path | None = None
        self._stopping = False

    @staticmethod
    def missing() -> str | None:
        """Which packages are absent and the commands that bring them; None when all is there."""
        return packages.missing()

    @property
    def pid(self) -> int | None:
        """Process id of the server that was started last."""
        return self._process.pid if self._process else None

    @property
    def returncode(self) -> int | None:
        """Exit code of that process, negative for a signal; None while it runs."""
        return self._process.returncode if self._process else None

    async def start(self) -> str:
        """Start the server and return its base URL, without `/v1`, as soon as it answers.

        Raises `DemoError` when packages are missing or the server does not come up in time; no
        process is left then.
        """
        if absent := packages.missing():
            raise DemoError(absent)
        model = packages.model_file()
        self._stopping = False
        threads = max(1, (os.cpu_count() or 1) // 2)
        process = self._process = await self._launch(str(model), str(threads))
        try:
            url = await self._address(process)
        except BaseException:
            await _end(process)
            raise
        self._watcher = spawn(self._watch(process), name="demo backend")
        return url

    async def stop(self) -> None:
        """End the server and wait until it is gone. Harmless when it is not running."""
        self._stopping = True
        if self._process is None or self._watcher is None:
            return
        crashed = self._watcher.done()
        await _end(self._process)
        await asyncio.wait([self._watcher])
        if self._log_path and not crashed:
            self._log_path.unlink(missing_ok=True)

    async def _launch(self, *arguments: str) -> asyncio.subprocess.Process:
        handle, path = tempfile.mkstemp(prefix="nexus-demo-", suffix=".log")
        self._log_path = Path(path)
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a file in the user's current folder must not shadow a module
                str(SERVER),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=handle,
                start_new_session=True,
                env=_without_secrets(os.environ),
            )
        finally:
            os.close(handle)

    async def _address(self, process: asyncio.subprocess.Process) -> str:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                if line := await process.stdout.readline():
                    return line.decode().strip()
                code = await process.wait()
        except TimeoutError:
            problem = f"The demo's server did not answer within {START_SECONDS:g} s."
            raise DemoError(f"{problem} {self._last_words()}") from None
        problem = f"The demo's server ended with exit code {code} while it started."
        raise DemoError(f"{problem} {self._last_words()}")

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if self._stopping:
            return
        problem = f"The demo's server ended by itself with exit code {code}."
        error = DemoError(f"{problem} {self._last_words()}")
        self._on_crash(error)

    def _last_words(self) -> str:
        assert self._log_path is not None
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        if not lines:
            return f"It wrote nothing to its log, {self._log_path}."
        return "\n  ".join([f"Its log, {self._log_path}, ends with:", *lines[-TAIL_LINES:]])


def _log_crash(error: DemoError) -> None:
    log.error("%s", error)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Terminate, or else kill; reaped in every case, also when cancelled."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            process.terminate()
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for a server that needs none of the user's keys."""
    secret = ("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")
    return {name: value for name, value in environ.items() if not name.upper().endswith(secret)}
