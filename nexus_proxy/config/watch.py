"""Tells when a file has changed. Looks at it once per interval, which every file system allows."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from nexus_proxy.errors import NexusError

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]
"""Modification time in nanoseconds, size, inode: one of them differs after any save."""


async def watch(
    path: Path, on_change: Callable[[], Awaitable[None]], *, interval: float = 1.0
) -> None:
    """Call `on_change` after each change of `path`, until cancelled. `interval` is in seconds.

    A change counts once the file has stayed the same for one interval, so that a file is not
    read while it is being written. A file that is gone is waited for. What `on_change` raises of
    `NexusError` or `OSError` is logged, and the watch goes on.
    """
    told = seen = _stamp(path)
    while True:
        await asyncio.sleep(interval)
        last, seen = seen, _stamp(path)
        if seen is None or seen != last or seen == told:
            continue
        told = seen
        try:
            await on_change()
        except (NexusError, OSError) as error:
            log.warning("the changed configuration was not applied: %s", error)


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
