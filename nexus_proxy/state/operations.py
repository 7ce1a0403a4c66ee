"""What readers see of an operation on a model: loading, unloading or moving it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct


class OperationKind(str, Enum):
    """What an operator wants done with a model."""

    LOAD = "load"
    UNLOAD = "unload"
    MIGRATE = "migrate"
    """Loaded on another backend, then unloaded on the first."""


class OperationPhase(str, Enum):
    """How far an operation has come."""

    WAITING = "waiting"
    """Another operation on the same backend goes first."""
    DRAINING = "draining"
    """Requests that run finish first; new ones go elsewhere or wait."""
    LOADING = "loading"
    UNLOADING = "unloading"
    DONE = "done"
    FAILED = "failed"


class OperationView(Struct, frozen=True, kw_only=True):
    """A model that is loaded, unloaded or moved. `backend` is where it is loaded or unloaded, or
    moved from, and `target` where it is moved to.

    `acts_on` is the backend of the present phase, which began at `phase_since`. `eta_seconds` is
    how long loading took there before; `waits_for` counts the requests that finish first. `error`
    says why it failed.
    """

    id: str
    kind: OperationKind
    model: str
    backend: str
    target: str | None
    phase: OperationPhase
    acts_on: str
    started: float
    phase_since: float
    ended: float | None
    eta_seconds: float | None
    waits_for: int
    error: str | None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.ended is not None
