"""The only place that creates asyncio tasks: named, kept alive, and watched.

A bare `asyncio.create_task` is banned by the linter: the loop keeps only a weak reference to it,
and its exception is not seen before garbage collection.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

_running: set[asyncio.Task[Any]] = set()


def spawn(
    coroutine: Coroutine[Any, Any, T],
    *,
    name: str,
    on_crash: Callable[[BaseException], None] | None = None,
    on_end: Callable[[], None] | None = None,
) -> asyncio.Task[T]:
    """Start `coroutine` as a task called `name`.

    A crash is logged with its traceback and, if given, told to `on_crash`; cancellation is not a
    crash. `on_end` is called whatever the end. The caller still owns the task and may await or
    cancel it.
    """
    # Not by the loop's factory: Textual sets an eager one on Python 3.12 and later, and a task
    # that ran before its caller knows it would be another program with the screen than without.
    task = asyncio.Task(coroutine, loop=asyncio.get_running_loop(), name=name)
    _running.add(task)

    def settle(done: asyncio.Task[T]) -> None:
        _running.discard(done)
        if not done.cancelled() and (crash := done.exception()) is not None:
            log.error("task %s crashed", name, exc_info=crash)
            if on_crash is not None:
                on_crash(crash)
        if on_end is not None:
            on_end()

    task.add_done_callback(settle)
    return task


def running() -> list[str]:
    """Names of the tasks that are alive, so that tests see what was left behind."""
    return sorted(task.get_name() for task in _running)
