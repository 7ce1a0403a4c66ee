"""What adapters share that tell a server to load or unload a model."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from nexus_proxy.backends.ask import Answer
from nexus_proxy.backends.base import LoadFailed
from nexus_proxy.backends.foreign import mapping, text

LOOK_SECONDS = 0.25
"""Between two questions whether it is done, where the server does not say so by itself."""
LONGEST_COMPLAINT = 200


def done(answer: Answer) -> Mapping[str, Any]:
    """The object that a server answered with. Raises `LoadFailed` with its own words where it
    refused, also behind a 200, as LM Studio does."""
    said = mapping(answer.json)
    if answer.problem or answer.status != 200 or said.get("error"):
        raise LoadFailed(complaint(answer))
    return said


def complaint(answer: Answer) -> str:
    """What went wrong, in the server's own words where it has some."""
    error = mapping(answer.json).get("error")
    told = text(mapping(error).get("message")) or text(error)
    return answer.problem or (told or f"it answered HTTP {answer.status}")[:LONGEST_COMPLAINT]


async def until(is_done: Callable[[], Awaitable[bool]]) -> None:
    """Look again and again, for as long as the caller allows."""
    while True:
        if await is_done():
            return
        await asyncio.sleep(LOOK_SECONDS)
