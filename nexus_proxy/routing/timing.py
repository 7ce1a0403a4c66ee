"""How long the stages take, measured for one request in `EACH`: clocks for all would cost more than
some of the stages."""

from __future__ import annotations

import time
from collections.abc import Callable

from nexus_proxy.routing import STAGES
from nexus_proxy.routing.types import Candidate, Reject, Selection, Stage

EACH = 64

Note = Callable[[str, float], None]
"""Takes a stage's name and how long it took, in seconds."""


def timed(note: Note) -> tuple[Stage, ...]:
    """All stages, each with a clock."""
    return tuple(stage._replace(apply=_timed(stage, note)) for stage in STAGES)


def _timed(
    stage: Stage, note: Note
) -> Callable[[Selection, list[Candidate], Reject], list[Candidate]]:
    def apply(selection: Selection, candidates: list[Candidate], reject: Reject) -> list[Candidate]:
        began = time.perf_counter()
        kept = stage.apply(selection, candidates, reject)
        note(stage.name, time.perf_counter() - began)
        return kept

    return apply
