"""A terminal driver that never makes the gateway wait for the terminal, nor outlives it.

Textual writes to the terminal from a thread, through a queue of thirty pieces. When the terminal
stops reading (Ctrl-S, a stalled SSH session, a hung multiplexer), the queue fills and the next
write blocks the loop: the whole gateway with it. This driver drops what does not fit instead, and
paints the whole screen once the terminal reads again.

A terminal that vanishes without a signal (its emulator was killed, and it is not the one that
controls the process) reads as an end without end, of which Textual takes no notice: it goes on
asking, with a whole core. Here it counts as a hang-up.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import sys
from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Any

from textual._xterm_parser import XTermParser
from textual.drivers._writer_thread import MAX_QUEUED_WRITES
from textual.drivers.linux_driver import LinuxDriver

if TYPE_CHECKING:
    from textual.app import App

ROOM_FOR_THE_END = 15
"""Places in the queue kept for what restores the terminal when the screen closes."""
GLANCE_SECONDS = 0.1
"""How long after the last look it is seen whether the terminal has caught up, or was typed at."""
_READ_BYTES = 4096
LAST_WORDS_SECONDS = 1.0
"""How long closing waits for a terminal that does not read."""


class UnlockedOutput:
    """Writes text straight to a descriptor.

    Python's own file objects hold a lock while they write. A thread that is stuck in one, on a
    terminal that does not read, would make the interpreter abort when it ends.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """Write all of `text`, however long the terminal takes."""
        data = memoryview(text.encode("utf-8", "replace"))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                return  # the terminal is gone: nobody reads, and the reading thread tells of it

    def flush(self) -> None:
        """Nothing is buffered."""

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor


class DroppingDriver(LinuxDriver):
    """`LinuxDriver` whose `write` returns at once, always."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        self._file = UnlockedOutput(sys.__stderr__.fileno())  # type: ignore
        self._most = MAX_QUEUED_WRITES - ROOM_FOR_THE_END
        self._dropped = False

    def run_input_thread(self) -> None:
        """Turn what is typed into events, until the screen closes or the terminal is gone."""
        parser = XTermParser(self._debug)
        decode = getincrementaldecoder("utf-8")("replace").decode
        with selectors.SelectSelector() as selector:
            selector.register(self.fileno, selectors.EVENT_READ)
            while not self.exit_event.is_set():
                if selector.select(GLANCE_SECONDS):
                    typed = self._typed()
                    if not typed:
                        os.kill(os.getpid(), signal.SIGHUP)
                        return
                    for event in parser.feed(decode(typed)):
                        self.process_message(event)
                for event in parser.tick():
                    self.process_message(event)

    def _typed(self) -> bytes:
        """What is there to be read; nothing: the terminal is gone."""
        try:
            return os.read(self.fileno, _READ_BYTES)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""

    def write(self, data: str) -> None:
        """Queue `data`, or drop it while the terminal is behind."""
        if self._writer_thread is None:
            return
        if self._writer_thread._queue.qsize() < self._most:
            self._writer_thread.write(data)
        elif not self._dropped:
            self._dropped = True
            self._loop.call_later(GLANCE_SECONDS, self._catch_up)

    def _catch_up(self) -> None:
        """Paint the whole screen if the terminal reads again, else look again later. What was
        dropped may have been the last that the app had to say for a while."""
        if self._writer_thread is None or not self._app.is_running:
            return
        if self._writer_thread._queue.empty():
            self._dropped = False
            self._app.refresh(repaint=True, layout=True)
        else:
            self._loop.call_later(GLANCE_SECONDS, self._catch_up)

    def stop_application_mode(self) -> None:
        """Queue what restores the terminal, into the places kept for it."""
        self._most = MAX_QUEUED_WRITES - 1
        super().stop_application_mode()

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, if it was left by a stop. The end of a session sends this
        signal too."""
        if self._must_signal_resume:
            super()._sigcont_application()

    def close(self) -> None:
        """End the writing thread; one that is stuck is left to die with the process. From here on
        stopping and going on concern the gateway, and not the terminal."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        signal.signal(signal.SIGCONT, signal.SIG_DFL)
        writer = self._writer_thread
        if writer is not None and not writer._queue.full():
            writer._queue.put_nowait(None)
            writer.join(LAST_WORDS_SECONDS)
