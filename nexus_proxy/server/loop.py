"""The event loop: uvloop, with tasks that start alike with and without a screen."""

from __future__ import annotations

from typing import Any

import uvloop


class SteadyLoop(uvloop.Loop):
    """A loop that keeps its way of starting tasks.

    Textual sets an eager task factory on Python 3.12 and later and never takes it back: the
    gateway beside it would run in another order than headless. CPython 3.13.0's factory also
    refuses an argument that uvloop passes.
    """

    def set_task_factory(self, factory: Any) -> None:
        """Ignored."""
