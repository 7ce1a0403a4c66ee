"""One operation while it runs, and after."""

from __future__ import annotations

import secrets
import time

from msgspec import Struct

from nexus_proxy.state import OperationKind, OperationPhase, OperationView
from nexus_proxy.wording import plural

MOST_PROGRESS = 0.99
"""Of what is not over yet, however long it takes."""
_STATUS = {OperationPhase.DONE: "completed", OperationPhase.FAILED: "failed"}
_LOAD, _UNLOAD = OperationKind.LOAD, OperationKind.UNLOAD
_DONE = {_LOAD: "loaded", _UNLOAD: "unloaded", OperationKind.MIGRATE: "moved"}


class Operation:
    """Loading, unloading or moving one model. Changed by `Lifecycle` only."""

    def __init__(self, kind: OperationKind, model: str, backend: str, target: str | None) -> None:
        self.id = f"op-{secrets.token_hex(4)}"
        self.kind, self.model, self.backend, self.target = kind, model, backend, target
        self.phase = OperationPhase.UNLOADING if kind is _UNLOAD else OperationPhase.LOADING
        self.acts_on = target or backend
        self.started = self.phase_since = time.time()
        self.ended: float | None = None
        self.eta_seconds: float | None = None
        self.waits_for = 0
        self.error: str | None = "the gateway stopped, or the backend was removed"
        self.told = ""

    @property
    def key(self) -> tuple[OperationKind, str, str, str | None]:
        """Two operations with the same one are one."""
        return self.kind, self.model, self.backend, self.target

    @property
    def places(self) -> set[tuple[str, str]]:
        """Backend and model of all that it touches."""
        return {(name, self.model) for name in (self.backend, self.target) if name is not None}

    def enter(self, phase: OperationPhase, acts_on: str) -> None:
        """Go on to another phase."""
        self.phase, self.acts_on, self.phase_since = phase, acts_on, time.time()
        self.waits_for = 0

    def end(self) -> None:
        """It is over; `error` says how."""
        self.ended, self.waits_for = time.time(), 0
        self.phase = OperationPhase.DONE if self.error is None else OperationPhase.FAILED

    def view(self) -> OperationView:
        """As a frozen value."""
        return OperationView(
            id=self.id,
            kind=self.kind,
            model=self.model,
            backend=self.backend,
            target=self.target,
            phase=self.phase,
            acts_on=self.acts_on,
            started=self.started,
            phase_since=self.phase_since,
            ended=self.ended,
            eta_seconds=self.eta_seconds,
            waits_for=self.waits_for,
            error=self.error if self.ended is not None else None,
        )


class Report(Struct, frozen=True, kw_only=True):
    """An operation as programs read it. `status` is `in_progress`, `completed` or `failed`;
    `progress` is 0 to 1, reckoned from how long loading took before, None where that is unknown.
    `message` is how it stands, as a sentence."""

    operation_id: str
    type: OperationKind
    model_id: str
    backend_id: str
    target_backend_id: str | None
    status: str
    phase: OperationPhase
    acts_on: str
    progress: float | None
    started_at: float
    ended_at: float | None
    elapsed_seconds: float
    phase_seconds: float
    eta_seconds: float | None
    waits_for_requests: int
    error: str | None
    message: str


def report(view: OperationView, now: float) -> Report:
    """How it stands at `now`, in seconds since the epoch."""
    until = now if view.ended is None else view.ended
    return Report(
        operation_id=view.id,
        type=view.kind,
        model_id=view.model,
        backend_id=view.backend,
        target_backend_id=view.target,
        status=_STATUS.get(view.phase, "in_progress"),
        phase=view.phase,
        acts_on=view.acts_on,
        progress=_progress(view, now),
        started_at=view.started,
        ended_at=view.ended,
        elapsed_seconds=round(max(0.0, until - view.started), 3),
        phase_seconds=round(max(0.0, until - view.phase_since), 3),
        eta_seconds=view.eta_seconds,
        waits_for_requests=view.waits_for,
        error=view.error,
        message=sentence(view),
    )


def _progress(view: OperationView, now: float) -> float | None:
    if view.phase is OperationPhase.DONE:
        return 1.0
    if view.phase is not OperationPhase.LOADING or not view.eta_seconds:
        return None
    return round(min(MOST_PROGRESS, max(0.0, now - view.phase_since) / view.eta_seconds), 3)


def sentence(view: OperationView) -> str:
    """How it stands, for people: `loading qwen3:8b on gpubox takes about 20 s`."""
    model, where = view.model, f"on {view.backend}"
    if view.target is not None:
        where = f"from {view.backend} to {view.target}"
    match view.phase:
        case OperationPhase.DONE:
            took = (view.ended or view.started) - view.started
            return f"{model} is {_DONE[view.kind]} {where}, after {took:.1f} s"
        case OperationPhase.FAILED:
            return f"{model} is not {_DONE[view.kind]} {where}: {view.error}"
        case OperationPhase.WAITING:
            return f"{view.kind.value} {model} {where}: {view.acts_on} has other models to see to"
        case OperationPhase.DRAINING:
            ends = "finishes" if view.waits_for == 1 else "finish"
            first = f"{plural(view.waits_for, 'request')} on {view.acts_on} {ends}"
            return f"{view.kind.value} {model} {where}: {first} first"
        case phase:
            eta = view.eta_seconds if phase is OperationPhase.LOADING else None
            about = "" if eta is None else f", which takes about {max(1, round(eta))} s"
            return f"{phase.value} {model} on {view.acts_on}{about}"
