"""One operation while it runs, and after."""

from __future__ import annotations

import secrets
import time

from nexus_proxy.state import OperationKind, OperationPhase, OperationView

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
            plural = "" if view.waits_for == 1 else "s"
            return (
                f"{view.kind.value} {model} {where}: {view.waits_for} request{plural} on "
                f"{view.acts_on} finish first"
            )
        case phase:
            eta = view.eta_seconds if phase is OperationPhase.LOADING else None
            about = "" if eta is None else f", which takes about {max(1, round(eta))} s"
            return f"{phase.value} {model} on {view.acts_on}{about}"
