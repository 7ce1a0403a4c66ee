"""The processes of a run: started on a core of their own, and ended with the block they serve."""

from __future__ import annotations

import fcntl
import os
import pty
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from tests.bench.gateways import jobs
from tests.bench.gateways.accounts import cpu_seconds
from tests.bench.gateways.jobs import Job, Result

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[3]
OPEN_FILES = 20_000
STOP_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""Longest wait for a line of a process of ours, beyond the time that its job may take."""
COLUMNS, ROWS = 160, 45


def allow_many_connections() -> None:
    """Let this process and those it starts hold some thousand sockets."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str],
    *,
    core: int | None,
    folder: Path,
    terminal: bool = False,
    talk: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in `folder`, which is made if need be, with its output in `folder/output`.

    With `terminal` in a terminal whose output is read and forgotten, with `talk` on pipes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stderr = stack.enter_context((folder / "output").open("ab")).fileno()
        stdin, stdout = (subprocess.PIPE, subprocess.PIPE) if talk else (subprocess.DEVNULL, stderr)
        if terminal:
            stdin = stdout = stderr = stack.enter_context(_terminal())
        process = subprocess.Popen(
            _bound(command, core),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=folder,
            env=_environ(folder),
            start_new_session=True,
        )
        try:
            yield process
        finally:
            _end(process)


@contextmanager
def _terminal() -> Iterator[int]:
    """A terminal that reads on and shows nothing. Yields the side for the program."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))

    def read() -> None:
        with suppress(OSError):
            while os.read(master, 65536):
                pass

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield slave
    finally:
        os.close(slave)
        reader.join(STOP_SECONDS)
        os.close(master)


def _bound(command: Sequence[str], core: int | None) -> list[str]:
    """`command` on one core, and told to stop by the kernel should this process die."""
    prefix = [] if core is None else ["taskset", "--cpu-list", str(core)]
    if shutil.which("setpriv"):
        prefix += ["setpriv", "--pdeathsig", "TERM"]
    return [*prefix, *command]


def _environ(home: Path) -> Mapping[str, str]:
    """The environment without what would change a gateway: keys, proxies, a user's settings."""
    changing = ("NEXUS_", "XDG_", "OLLAMA_")
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(changing) and not name.lower().endswith(("_api_key", "_proxy"))
    }
    terminal = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    return {**kept, **terminal, "PYTHONPATH": str(ROOT), "HOME": str(home)}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process, and what it started: they are a process group of their own."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


class Talker:
    """A process of ours that is spoken to line by line."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._in, self._out = process.stdin, process.stdout
        self._rest = b""

    def say(self, line: bytes) -> None:
        """Write a line."""
        self._in.write(line)
        self._in.flush()

    def hear(self, seconds: float = ANSWER_SECONDS) -> bytes:
        """Read a line. Raises `RuntimeError` if none comes."""
        deadline = time.monotonic() + seconds
        parts = [self._rest]
        while b"\n" not in parts[-1]:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._out], [], [], left)[0]:
                raise RuntimeError(f"process {self.pid} says nothing for {seconds:g} s")
            parts.append(os.read(self._out.fileno(), 1 << 20))
            if not parts[-1]:
                raise RuntimeError(f"process {self.pid} ended")
        line, _, self._rest = b"".join(parts).partition(b"\n")
        return line + b"\n"


class Load:
    """The load's process."""

    def __init__(self, talker: Talker) -> None:
        self._talker = talker

    def run(self, job: Job, pid: int) -> tuple[Result, float]:
        """Do a job. Returns its result and the CPU seconds that the gateway used for it."""
        self._prepare(job)
        before = cpu_seconds(pid)
        self._talker.say(jobs.GO)
        line = self._talker.hear(job.seconds + ANSWER_SECONDS)
        return msgspec.json.decode(line, type=Result), cpu_seconds(pid) - before

    def hold(self, job: Job, look: Callable[[], T]) -> tuple[Result, T]:
        """Open the streams of a job, and `look` while they are."""
        self._prepare(job)
        self._talker.say(jobs.GO)
        self._expect(jobs.OPEN, job.seconds + ANSWER_SECONDS)
        seen = look()
        self._talker.say(jobs.END)
        return msgspec.json.decode(self._talker.hear(), type=Result), seen

    def _prepare(self, job: Job) -> None:
        self._talker.say(msgspec.json.encode(job) + b"\n")
        self._expect(jobs.READY, job.seconds + ANSWER_SECONDS)

    def _expect(self, line: bytes, seconds: float) -> None:
        heard = self._talker.hear(seconds)
        if heard != line:
            raise RuntimeError(f"the load says {heard[:80]!r} where {line!r} was due")


@contextmanager
def mock(core: int | None, folder: Path) -> Iterator[tuple[int, int]]:
    """Run the mock. Yields its port and its process id."""
    command = [sys.executable, "-m", "tests.bench.gateways.mock"]
    with running(command, core=core, folder=folder, talk=True) as process:
        yield int(Talker(process).hear()), process.pid


@contextmanager
def load(core: int | None, folder: Path) -> Iterator[Load]:
    """Run the load."""
    command = [sys.executable, "-m", "tests.bench.gateways.load"]
    with running(command, core=core, folder=folder, talk=True) as process:
        yield Load(Talker(process))
