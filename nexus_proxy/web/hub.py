"""Keeps dashboards live: one look at the gateway, one message, for however many browsers.

It looks at most four times a second, and only while somebody looks; the dearer a look, the longer
the pause. A browser that does not keep up loses the changes that wait for it and is told the whole
state when it reads again, so that what is kept for it stays small.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from nexus_proxy.events import CHANGE_EVENTS, Event
from nexus_proxy.runtime import Runtime
from nexus_proxy.tasks import spawn
from nexus_proxy.web import frames
from nexus_proxy.web.frames import Frame

INTERVAL = 0.25
"""Seconds between two looks at least."""
CLOCK_SECONDS = 1.0
"""Between two looks although nothing happened: rates fall, and siblings tell nothing by events."""
BEAT_SECONDS = 5.0
"""Between two messages at most, whatever happens."""
MOST_WAITING = 16
"""Messages kept for a browser that does not read."""
_SHARE = 0.04
"""Of the loop, which the gateway needs, that looking may take."""


class Viewer:
    """One browser."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._waiting: deque[str] = deque()
        self._is_behind = True
        self._is_over = False
        self._woken = asyncio.Event()

    @property
    def waiting(self) -> int:
        """Messages that are kept for it."""
        return len(self._waiting)

    async def next(self) -> str | None:
        """The next message; None: the gateway stops, and there is nothing more to tell."""
        while True:
            if self._is_behind and self._hub.frame is not None:
                self._is_behind = False
                return self._hub.whole()
            if self._waiting:
                return self._waiting.popleft()
            if self._is_over:
                return None
            self._woken.clear()
            await self._woken.wait()

    def tell(self, message: str | None) -> None:
        """Keep a message until it is read; None: there is a first look at last."""
        if message is not None and not self._is_behind:
            self._waiting.append(message)
            if len(self._waiting) > MOST_WAITING:
                self._waiting.clear()
                self._is_behind = True
        self._woken.set()

    def end(self) -> None:
        """Nothing comes any more."""
        self._is_over = True
        self._woken.set()


class Hub:
    """All dashboards of one gateway.

    Attributes:
        frame: what was seen last; None while nobody looks.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._viewers: set[Viewer] = set()
        self._looking: asyncio.Task[None] | None = None
        self._whole: str | None = None
        self._told_at = 0.0
        self._is_dirty = True
        self.frame: Frame | None = None

    @contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """A browser that is told of everything for the length of the block."""
        viewer = Viewer(self)
        self._viewers.add(viewer)
        if self._looking is None or self._looking.done():
            self._looking = spawn(self._look_on(), name="dashboards")
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)

    def whole(self) -> str:
        """The message that tells all of `frame`; the same one for all until that changes."""
        assert self.frame is not None
        if self._whole is None:
            self._whole = frames.whole(self.frame)
        return self._whole

    async def _look_on(self) -> None:
        runtime, pause = self._runtime, 0.0
        unsubscribe = runtime.bus.subscribe(self._mark, *CHANGE_EVENTS)
        looked_at, revision = float("-inf"), -1
        try:
            while self._viewers and not self._has_told_the_end():
                await asyncio.sleep(pause)
                pause = INTERVAL
                began = time.perf_counter()
                is_quiet = not self._is_dirty and runtime.history.revision == revision
                if is_quiet and began - looked_at < CLOCK_SECONDS:
                    continue
                looked_at, revision, self._is_dirty = began, runtime.history.revision, False
                self._show(frames.frame(await runtime.siblings.snapshot()))
                took = time.perf_counter() - began
                pause = max(INTERVAL, min(took / _SHARE, CLOCK_SECONDS))
        finally:
            unsubscribe()
            self._end()

    def _has_told_the_end(self) -> bool:
        return self.frame is not None and bool(self.frame.parts["draining"])

    def _show(self, seen: Frame) -> None:
        before, self.frame, self._whole = self.frame, seen, None
        message = None if before is None else frames.changes(before, seen)
        if before is not None and message is None:
            if seen.now - self._told_at < BEAT_SECONDS:
                return
            message = frames.beat(seen.now)
        self._told_at = seen.now
        for viewer in self._viewers:
            viewer.tell(message)

    def _mark(self, _event: Event) -> None:
        self._is_dirty = True

    def _end(self) -> None:
        """Forget all. Who still looks, since the gateway stops or this broke, comes again."""
        self.frame = self._whole = None
        for viewer in self._viewers:
            viewer.end()
