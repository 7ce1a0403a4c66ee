"""A real HTTP backend for tests that answers well until it is told to misbehave.

async with ScriptedBackend(["m"], name="left") as backend:
    backend.behave(faults.status(503, headers={"retry-after": "2"}), times=1)
    backend.behave(Answer(cut=Cut.STALL, after=3))
    ...
    await backend.generations[0].closed(within=1.0)
"""

from __future__ import annotations

from tests.support.scripted import faults
from tests.support.scripted.answers import Answer, Cut, Framing
from tests.support.scripted.backend import ScriptedBackend
from tests.support.scripted.payloads import ToolCall
from tests.support.scripted.wire import Behaviour, Exchange, Recorded

__all__ = [
    "Answer",
    "Behaviour",
    "Cut",
    "Exchange",
    "Framing",
    "Recorded",
    "ScriptedBackend",
    "ToolCall",
    "faults",
]
