"""Signals as events on the loop: TERM, INT and HUP ask to stop; the exit code says which did."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StopRequest:
    """`asked` is set by the first signal (or `ask`), `hurry` by the second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self.signal: signal.Signals | None = None
        self._listeners: list[Callable[[], None]] = []

    def ask(self, by: signal.Signals | None = None) -> None:
        """Ask to stop; asking again means: at once."""
        if self.asked.is_set():
            self.hurry.set()
            return
        self.signal = by
        self.asked.set()
        for listener in self._listeners:
            listener()

    def on_ask(self, listener: Callable[[], None]) -> None:
        """Call `listener` at the first request to stop."""
        self._listeners.append(listener)

    @property
    def exit_code(self) -> int:
        """0, or 128 + the signal's number for a signal other than Ctrl-C in a headless run."""
        return 0 if self.signal is None else 128 + self.signal.value


@contextmanager
def handled(stop: StopRequest) -> Iterator[None]:
    """Turn signals into `stop.ask` for the length of the block."""
    loop = asyncio.get_running_loop()
    for number in STOPPING:
        loop.add_signal_handler(number, stop.ask, number)
    try:
        yield
    finally:
        for number in STOPPING:
            loop.remove_signal_handler(number)
