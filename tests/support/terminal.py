"""A program in a pseudo-terminal: type to it, read its screen, see what it leaves behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pyte

PATIENCE = 20.0
ALT_SCREEN_ON, ALT_SCREEN_OFF = b"\x1b[?1049h", b"\x1b[?1049l"
MOUSE_ON, MOUSE_OFF = b"\x1b[?1000h", b"\x1b[?1000l"
CURSOR_OFF, CURSOR_ON = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    """One running program. `output` is all it ever wrote."""

    def __init__(self, process: subprocess.Popen[bytes], master: int, slave: int) -> None:
        self.process = process
        self.output = b""
        self._master, self._slave = master, slave
        self._before = termios.tcgetattr(slave)
        self._screen = pyte.Screen(*_size(slave))
        self._stream = pyte.ByteStream(self._screen)
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._read)

    @property
    def text(self) -> str:
        """What the screen shows now."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    @property
    def restored(self) -> bool:
        """Whether the terminal is as it was: screen, mouse, cursor and line discipline."""
        now = termios.tcgetattr(self._slave)
        return (
            self._last(ALT_SCREEN_OFF) >= self._last(ALT_SCREEN_ON)
            and self._last(MOUSE_OFF) >= self._last(MOUSE_ON)
            and self._last(CURSOR_ON) >= self._last(CURSOR_OFF)
            and now[:4] == self._before[:4]
        )

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, size)
        self._screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def stall(self) -> None:
        """Stop reading, as Ctrl-S or a stalled SSH session does."""
        asyncio.get_running_loop().remove_reader(self._master)

    def resume(self) -> None:
        """Read on."""
        asyncio.get_running_loop().add_reader(self._master, self._read)

    def vanish(self) -> None:
        """Close the terminal, as an emulator that is killed does. Nobody is sent a signal: it
        controls no session."""
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    async def until(self, condition: Callable[[], bool], *, seconds: float = PATIENCE) -> None:
        """Wait until `condition` holds, looked at after each output. Fails with the screen."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"it never came; the screen shows:\n{self.text}") from None

    async def shows(self, text: str) -> None:
        """Wait until the screen shows `text`."""
        await self.until(lambda: text in self.text)

    async def exit_code(self, *, seconds: float = PATIENCE) -> int:
        """Wait for the end."""
        try:
            return await asyncio.to_thread(self.process.wait, seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it does not end; the screen shows:\n{self.text}") from None

    def close(self) -> None:
        """End the program if it still runs, and close the terminal."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            self.vanish()

    def _last(self, sequence: bytes) -> int:
        return self.output.rfind(sequence)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.output += data
        self._stream.feed(data)
        self._changed.set()


@asynccontextmanager
async def in_terminal(
    arguments: Sequence[str],
    *,
    columns: int = 100,
    rows: int = 30,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Terminal]:
    """Run `python arguments…` in a terminal of its own."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = subprocess.Popen(  # noqa: ASYNC220 forks once, before anything waits
        [sys.executable, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        env={**_environ(), **(environ or {})},
    )
    terminal = Terminal(process, master, slave)
    try:
        yield terminal
    finally:
        terminal.close()


def _environ() -> dict[str, str]:
    """Ours, without the sizes that pytest-xdist sets and that would beat the terminal's own."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
    return {**inherited, "TERM": "xterm-256color", "COLORTERM": "truecolor"}


def _size(slave: int) -> tuple[int, int]:
    rows, columns, _, _ = struct.unpack(
        "HHHH", fcntl.ioctl(slave, termios.TIOCGWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    )
    return columns, rows
