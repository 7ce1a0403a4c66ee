"""Signals as events on the loop: TERM, INT and HUP ask to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nexus_proxy.server.stopping import stopping


class StopRequest:
    """`asked` is set by the first signal (or `ask`), `hurry` by the second."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.hurry = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def ask(self) -> None:
        """Ask to stop; asking again means: at once."""
        if self.asked.is_set():
            self.hurry.set()
            return
        self.asked.set()
        for listener in self._listeners:
            listener()

    def on_ask(self, listener: Callable[[], None]) -> None:
        """Call `listener` at the first request to stop."""
        self._listeners.append(listener)


@contextmanager
def handled(stop: StopRequest) -> Iterator[None]:
    """Turn signals into `stop.ask` for the length of the block."""
    loop = asyncio.get_running_loop()
    numbers = stopping()
    for number in numbers:
        loop.add_signal_handler(number, stop.ask)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
