"""A real tmux, driven as a person drives it: keys, mouse and sizes go in, what is on the screen
comes out.

It is the machine's own (`apt-get install tmux`), since no package carries one; where there is none,
the tests that need it fail and say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

PATIENCE = 25.0
_GLANCE = 0.05
_AGAIN = 1.5
"""Seconds after which one clicks again."""
_MODES = "#{alternate_on} #{mouse_any_flag} #{cursor_flag}"
_SHELL_HAS_IT = "0 0 1"
"""No alternate screen, no mouse, a cursor."""


class TmuxMissingError(RuntimeError):
    """No tmux is installed."""


class Tmux:
    """One window with a shell in it."""

    def __init__(self, socket: Path) -> None:
        self._command = ("tmux", "-u", "-S", str(socket), "-f", os.devnull)

    async def run(self, *arguments: str) -> str:
        """A command of tmux; what it prints."""
        # not asyncio's: uvloop hands its ends of the pipes down to the server of tmux, which stays
        done = await asyncio.to_thread(
            subprocess.run, (*self._command, *arguments), capture_output=True, timeout=PATIENCE
        )
        assert done.returncode == 0, f"tmux {arguments}: {done.stderr.decode()}"
        return done.stdout.decode()

    async def text(self) -> str:
        """What the screen shows now."""
        return await self.run("capture-pane", "-p")

    async def press(self, *keys: str) -> None:
        """Keys by tmux's names: `a`, `Enter`, `Escape`, `C-c`."""
        await self.run("send-keys", *keys)

    async def type(self, text: str) -> None:
        """Letters, one after the other."""
        await self.run("send-keys", "-l", text)

    async def click(self, word: str, *seen: str) -> str:
        """Press the left button of the mouse on the first place that shows `word`, and again, as
        one does who sees that nothing came of it, until all of `seen` is on the screen."""
        for _ in range(int(PATIENCE / _AGAIN)):
            await self._click(word)
            with contextlib.suppress(AssertionError):
                return await self.sees(*seen, seconds=_AGAIN)
        return await self.sees(*seen)

    async def _click(self, word: str) -> None:
        for row, line in enumerate((await self.text()).splitlines()):
            if word in line:
                for end in "Mm":
                    await self.type(f"\x1b[<0;{line.index(word) + 1};{row + 1}{end}")
                return

    async def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        await self.run("resize-window", "-x", str(columns), "-y", str(rows))

    async def sees(self, *words: str, seconds: float = PATIENCE) -> str:
        """Wait until all of these are on the screen, and return it. Fails with what it shows."""
        return await self._until(lambda text: all(word in text for word in words), words, seconds)

    async def misses(self, *words: str) -> str:
        """Wait until none of these is on the screen, and return it."""
        return await self._until(
            lambda text: not any(word in text for word in words), words, PATIENCE
        )

    async def is_restored(self) -> bool:
        """Whether a shell has the terminal again, with nothing left of a program in it."""
        return (await self.run("display-message", "-p", _MODES)).strip() == _SHELL_HAS_IT

    async def _until(
        self, holds: Callable[[str], bool], words: Sequence[str], seconds: float
    ) -> str:
        text = ""
        for _ in range(int(seconds / _GLANCE)):
            text = await self.text()
            if holds(text):
                return text
            await asyncio.sleep(_GLANCE)
        raise AssertionError(f"never so: {words}; the screen shows:\n{text}")


@asynccontextmanager
async def in_tmux(
    *arguments: str, folder: Path, columns: int = 80, rows: int = 24
) -> AsyncIterator[Tmux]:
    """Run a program from a shell in a tmux of its own, whose socket and notes are in `folder`. The
    shell says `ended CODE` afterwards, and whether the line discipline is as it was."""
    if shutil.which("tmux") is None:
        raise TmuxMissingError("the tests of the screen need a real tmux: apt-get install tmux")
    tmux = Tmux(folder / "tmux")
    program = shlex.join(arguments)
    shell = (
        "before=$(stty -g); echo before it; "
        f'{program}; echo "ended $?"; '
        '[ "$(stty -g)" = "$before" ] && echo "line as it was"; exec cat'
    )
    size = ("-x", str(columns), "-y", str(rows))
    # pytest-xdist sets these sizes, and they would beat the terminal's own
    plain = ("env", "-u", "COLUMNS", "-u", "LINES", "-u", "NO_COLOR")
    await tmux.run("new-session", "-d", *size, *plain, "sh", "-c", shell)
    try:
        yield tmux
    finally:
        await tmux.run("kill-server")
