"""The parent of several gateway processes on one port: starts them, watches them, ends them.

It serves nothing itself and imports next to nothing, so that it is small and has no reason to fail.
It holds the listening socket, so that the port stays ours and what waits in its queue stays there
while a worker is replaced. Workers are new interpreters and not forks: a fork of a process with
threads and a loop copies locks that nobody will release.

Between a worker and its parent there is one socket. The parent writes what the worker needs to know
(`Opening`), the worker a byte when it is ready; whichever dies, the other sees the socket end. A
worker without a parent drains and ends, so that nobody is left on the port. Workers are process
groups of their own: Ctrl-C reaches the parent alone, which passes it on once.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from nexus_proxy.server.board import ABSENT, Board
from nexus_proxy.server.stopping import stopping
from nexus_proxy.siblings.seat import Seat

log = logging.getLogger("nexus_proxy.gateway")

READY = b"r"
PROGRAM = "nexus_proxy.cli.worker"
FIRST_DELAY, LONGEST_DELAY = 0.2, 30.0
"""Before a worker that died is replaced; doubled with each that lives less than `SOUND_SECONDS`."""
SOUND_SECONDS = 30.0
STOP_SECONDS = 45.0
"""A worker that has not ended so long after it was told to is killed: it may take 30 s to drain and
some to close."""
HURRY_SECONDS = 10.0
USAGE = 2

Opening = Callable[[Seat], bytes]
"""What a worker is told when it starts, as a line."""


@dataclass(slots=True)
class _Worker:
    """One place, and the process in it. `due` is when the next one starts, monotonic seconds."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    channel: socket.socket | None = None
    ready: bool = False
    started: float = 0.0
    delay: float = 0.0
    due: float = field(default=0.0)


class Workers:
    """`count` processes that serve on `sock`. `run` once."""

    def __init__(
        self, sock: socket.socket, count: int, node_id: str, opening: Opening, said_when_ready: str
    ) -> None:
        self._sock, self._opening, self._said = sock, opening, said_when_ready
        self._folder = _private_folder()
        self._files = [
            tempfile.TemporaryFile()  # noqa: SIM115 as long as workers start
            for _ in range(2)
        ]
        self._handles = board, cells = [file.fileno() for file in self._files]
        self._seats = [
            Seat(
                node_id=node_id,
                number=number,
                count=count,
                folder=self._folder,
                board=board,
                cells=cells,
            )
            for number in range(count)
        ]
        self._board = Board(board, count)
        self._workers = [_Worker(number) for number in range(count)]
        for number in range(count):
            self._board.write(number, ABSENT)
        self._selector = selectors.DefaultSelector()
        self._were_ready = False
        self._deadline: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Serve until told to stop. Returns the exit code: a worker's that cannot even start."""
        try:
            with _signals(self._selector):
                while self._deadline is None or self._running():
                    self._start_due()
                    self._wait()
                    self._reap()
                    self._kill_late()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
            for file in self._files:
                file.close()
        return self._exit_code

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.process is not None]

    # -- starting ------------------------------------------------------------------------------

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if self._deadline is None and worker.process is None and worker.due <= now:
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        handles = (self._sock.fileno(), theirs.fileno())
        with theirs:
            try:
                worker.process = subprocess.Popen(
                    [*_python(), "-m", PROGRAM, str(worker.number), *map(str, handles)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(*handles, *self._handles),
                    process_group=0,
                )
            except OSError as error:  # no room for one more process: those that run serve on
                ours.close()
                worker.due = time.monotonic() + LONGEST_DELAY
                log.error("worker %d cannot be started: %s", worker.number, error)
                return
        worker.channel, worker.ready, worker.started = ours, False, time.monotonic()
        with contextlib.suppress(OSError):  # it has ended already, which is seen by `_reap`
            ours.sendall(self._opening(self._seats[worker.number]))
        ours.setblocking(False)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    # -- watching ------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = time.monotonic()
        dues = [worker.due for worker in self._workers if worker.process is None]
        until = min(dues, default=None) if self._deadline is None else self._deadline
        timeout = None if until is None else max(0.0, until - now)
        for key, _ in self._selector.select(timeout):
            if isinstance(key.data, _Worker):
                self._hear(key.data)
            else:
                for number in _received(key.fileobj):
                    if number != signal.SIGCHLD:
                        self._stop()

    def _hear(self, worker: _Worker) -> None:
        assert worker.channel is not None
        if READY in _received(worker.channel):
            worker.ready = True
            self._tell_ready(worker)
        else:
            self._hang_up(worker)

    def _tell_ready(self, worker: _Worker) -> None:
        if self._were_ready:
            log.info("worker %d serves again", worker.number)
        elif all(one.ready for one in self._workers):
            self._were_ready = True
            log.info("%s", self._said)

    def _hang_up(self, worker: _Worker) -> None:
        if worker.channel is not None:
            self._selector.unregister(worker.channel)
            worker.channel.close()
            worker.channel = None

    def _reap(self) -> None:
        for worker in self._running():
            assert worker.process is not None
            if (code := worker.process.poll()) is not None:
                self._ended(worker, worker.process.pid, code)

    def _ended(self, worker: _Worker, pid: int, code: int) -> None:
        self._hang_up(worker)
        worker.process = None
        self._board.write(worker.number, ABSENT)
        if self._deadline is not None:
            if code != 0:
                self._exit_code = self._exit_code or 1
            return
        if not worker.ready and not self._were_ready and code > 0:
            self._exit_code = code
            self._stop()
            return
        lived = time.monotonic() - worker.started
        worker.delay = FIRST_DELAY if lived > SOUND_SECONDS else max(FIRST_DELAY, 2 * worker.delay)
        worker.delay = min(worker.delay, LONGEST_DELAY)
        worker.due = time.monotonic() + worker.delay
        log.error(
            "worker %d (process %d) %s; it is replaced in %.1f s, the others serve on",
            worker.number,
            pid,
            _ending(code),
            worker.delay,
        )

    # -- ending --------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Let all drain; the second time, end them at once."""
        seconds = STOP_SECONDS if self._deadline is None else HURRY_SECONDS
        self._deadline = time.monotonic() + seconds
        for worker in self._running():
            assert worker.process is not None
            worker.process.send_signal(signal.SIGTERM)

    def _kill_late(self) -> None:
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        for worker in self._running():
            assert worker.process is not None
            log.error("worker %d did not end, and is killed", worker.number)
            worker.process.kill()
            worker.process.wait()


def _python() -> list[str]:
    """This interpreter; its modules are looked for in the current folder only if ours were."""
    here = os.getcwd() in sys.path or "" in sys.path
    return [sys.executable] if here else [sys.executable, "-P"]


def _private_folder() -> str:
    """A folder for the workers' sockets, whose paths must not be long (104 bytes on macOS)."""
    folder = tempfile.mkdtemp(prefix="nexus-")
    if len(folder) > 80 and os.path.isdir("/tmp"):
        os.rmdir(folder)
        folder = tempfile.mkdtemp(prefix="nexus-", dir="/tmp")
    return folder


def _received(channel: object) -> bytes:
    assert isinstance(channel, socket.socket)
    try:
        return channel.recv(4096)
    except BlockingIOError:
        return b""
    except ConnectionError:
        return b""


def _ending(code: int) -> str:
    if code < 0:
        names = {known.value: known.name for known in signal.Signals}
        return f"was ended by {names.get(-code, f'signal {-code}')}"
    return f"ended with exit code {code}"


@contextlib.contextmanager
def _signals(selector: selectors.BaseSelector) -> Iterator[None]:
    """Signals as bytes on a socket that `selector` looks at; also of children that end."""
    ours, theirs = socket.socketpair()
    before = {}
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        selector.register(ours, selectors.EVENT_READ)
        for number in (*stopping(), signal.SIGCHLD):
            before[number] = signal.signal(number, lambda *_: None)
        old = signal.set_wakeup_fd(theirs.fileno())
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            selector.unregister(ours)
