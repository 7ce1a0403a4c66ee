"""Whose fault a failed attempt was, and what it means for the backend."""

from __future__ import annotations

import time
from collections.abc import Callable

from nexus_proxy.backends import adapter_for
from nexus_proxy.backends.base import Fault
from nexus_proxy.dialects import openai
from nexus_proxy.errors import (
    ClockError,
    ConnectFailedError,
    OutOfConnectionsError,
    UpstreamError,
    UpstreamStatusError,
)
from nexus_proxy.registry import Backend, Registry
from nexus_proxy.relay.retries import Failure
from nexus_proxy.state import BackendState, Capability

LONGEST_BUSY = 300.0
"""Seconds for which a backend is left alone at most, whatever it asks for."""


class Blame:
    """Judges failed attempts and tells the registry. `suspect(name)` asks for a health check."""

    def __init__(self, registry: Registry, suspect: Callable[[str], None]) -> None:
        self._registry, self._suspect = registry, suspect

    def judge(
        self, error: UpstreamError, backend: Backend, model: str, route: Capability | None
    ) -> Failure:
        """The error as it is to be told, and whose fault it was. `route` as in `RequestPeek`."""
        fault = _fault(error, backend)
        if route is not None and fault is Fault.MODEL_MISSING:
            fault = Fault.UNSUPPORTED  # a 404 there says nothing of the model on other routes
        if backend.name in self._registry:
            self._tell(error, fault, backend, model)
            if route is not None and fault is Fault.UNSUPPORTED and not _is_loop(error):
                self._registry.note_unable(backend, model, route, error.message)
        return Failure(_reworded(error, fault), fault)

    def _tell(self, error: UpstreamError, fault: Fault, backend: Backend, model: str) -> None:
        if fault in (Fault.CALLER, Fault.CONTEXT_OVERFLOW):
            return
        if isinstance(error, ConnectFailedError) or (
            isinstance(error, ClockError) and error.code == "upstream_silent"
        ):
            self._registry.mark(backend.name, BackendState.DOWN, error.message)
        if isinstance(error, UpstreamStatusError) and error.retry_after:
            backend.busy_until = time.monotonic() + min(error.retry_after, LONGEST_BUSY)
        if fault is Fault.MODEL_MISSING:
            self._registry.forget_model(backend, model)
        if fault in (Fault.BUSY, Fault.UNSUPPORTED):
            return
        if fault is not Fault.LOADING:
            self._registry.note_error(backend, error.message)
        self._suspect(backend.name)


def _is_loop(error: UpstreamError) -> bool:
    return isinstance(error, UpstreamStatusError) and error.upstream_status == 508


def _fault(error: UpstreamError, backend: Backend) -> Fault:
    if isinstance(error, OutOfConnectionsError):
        return Fault.BUSY
    if not isinstance(error, UpstreamStatusError):
        return Fault.BACKEND
    text = error.body[:4096].decode("utf-8", "replace")
    adapter = adapter_for(backend.type)
    return adapter.classify(error.upstream_status, openai.as_object(error.body), text)


def _reworded(error: UpstreamError, fault: Fault) -> UpstreamError:
    if (
        fault is Fault.CONTEXT_OVERFLOW
        and isinstance(error, UpstreamStatusError)
        and not error.is_native
    ):
        said = openai.error_sentence(error.body) or "the prompt is too long for its context"
        return UpstreamStatusError(
            said,
            backend=error.backend,
            upstream_status=400,
            body=openai.overflow_body(said),
        )
    return error
