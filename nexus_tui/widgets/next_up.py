"""Who would serve a model now: asked of the gateway for what is on the screen, at a slow pace."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nexus_proxy.errors import NexusError
from nexus_proxy.state import Preview
from nexus_tui.format import NEXT, Cell

if TYPE_CHECKING:
    from nexus_tui.source.base import Source

PACE = 1.5
"""Seconds after which the same is asked again."""
_LEAST_PACE = 0.25
"""Between two questions, however fast somebody scrolls."""
_SHARE = 0.04
"""Of the time that asking may take."""


class NextUp:
    """`wanted` names the models on the screen; `changed` is told when other marks are to be drawn.

    A gateway that does not say leaves the marks away; it is asked again all the same.
    """

    def __init__(self, wanted: Callable[[], Sequence[str]], changed: Callable[[], None]) -> None:
        self._wanted, self._changed = wanted, changed
        self._known: dict[str, Preview | None] = {}
        self._wake = asyncio.Event()

    def look(self) -> None:
        """What is on the screen may be another thing: ask soon, if nothing is known of it."""
        if any(model not in self._known for model in self._wanted()):
            self._wake.set()

    def mark(self, backend: str, model: str) -> Cell:
        """How a backend stands to a model that it lists."""
        preview = self._known.get(model)
        if preview is None:
            return Cell("")
        if not preview.first:
            return NEXT["nobody"].cell
        if (backend, model) in preview.first:
            sharing = len(preview.first)
            shared = Cell(f"{NEXT['shared'].glyph} 1 of {sharing}", NEXT["shared"].tone)
            return NEXT["first"].cell if sharing == 1 else shared
        is_other = all(served != model for _, served in preview.first)
        return NEXT["other"].cell if is_other else Cell("")

    async def run(self, source: Source) -> None:
        """Ask, until it is cancelled."""
        while True:
            models, began = self._wanted(), time.monotonic()
            self._wake.clear()
            if models:
                await self._ask(source, models)
            cost = time.monotonic() - began
            await asyncio.sleep(max(_LEAST_PACE, cost / _SHARE))
            try:
                async with asyncio.timeout(PACE):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _ask(self, source: Source, models: Sequence[str]) -> None:
        try:
            told = await source.previews(models)
        except NexusError:
            told = {}
        known = {model: told.get(model) for model in models}
        if known != self._known:
            self._known = known
            self._changed()
