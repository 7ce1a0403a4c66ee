"""Events told to the log, in sentences."""

from __future__ import annotations

import logging

from nexus_proxy.errors import NotFoundError
from nexus_proxy.events import (
    BackendAdded,
    BackendChanged,
    BackendRemoved,
    ConfigReloaded,
    DiscoveryNoted,
    Event,
    GatewayDraining,
    RequestFinished,
)
from nexus_proxy.state import RequestPhase, RequestView
from nexus_proxy.telemetry.history import History

log = logging.getLogger("nexus_proxy.gateway")
requests_log = logging.getLogger("nexus_proxy.request")


class Journal:
    """Subscriber that writes what happened to the log; never a prompt, an answer or a key."""

    def __init__(self, history: History) -> None:
        self._history = history

    def __call__(self, event: Event) -> None:
        """Log one event."""
        match event:
            case BackendAdded(name=name):
                log.debug("%s is listed", name)
            case BackendRemoved(name=name):
                log.info("%s is no longer listed", name)
            case BackendChanged(name=name, what=what):
                log.info("%s %s", name, what)
            case DiscoveryNoted(note=note):
                log.info("%s", note)
            case ConfigReloaded(error=str(error)):
                log.error("the changed configuration was refused: %s", error)
            case ConfigReloaded(diff=diff) if diff:
                log.info("configuration applied: %s", "; ".join(diff))
            case GatewayDraining():
                log.info("draining: no new requests")
            case RequestFinished(id=request_id):
                self._request(request_id)

    def _request(self, request_id: str) -> None:
        try:
            view = self._history.get(request_id)
        except NotFoundError:
            return
        level = logging.WARNING if view.phase is RequestPhase.FAILED else logging.INFO
        requests_log.log(level, "%s", _sentence(view), extra={"fields": _fields(view)})


def _sentence(view: RequestView) -> str:
    parts = [f"{view.id} {view.endpoint} {view.model_asked!r:.120}"]
    if view.backend:
        parts.append(f"on {view.backend}")
    parts.append(f"{view.phase.value} {view.status or ''}".strip())
    if view.total_ms is not None:
        parts.append(f"in {view.total_ms:.0f} ms")
    if view.completion_tokens is not None:
        parts.append(f"{view.completion_tokens} tokens ({view.usage_source})")
    if len(view.attempts) > 1:
        parts.append(f"{len(view.attempts)} attempts")
    return ", ".join(parts) + (f": {view.error}" if view.error else "")


def _fields(view: RequestView) -> dict[str, object]:
    return {
        "request_id": view.id,
        "client": view.client,
        "endpoint": view.endpoint,
        "model": view.model_asked,
        "served_model": view.model,
        "backend": view.backend,
        "outcome": view.phase.value,
        "status": view.status,
        "stream": view.stream,
        "attempts": len(view.attempts),
        "route_ms": view.route_ms,
        "first_token_ms": view.first_token_ms,
        "total_ms": view.total_ms,
        "prompt_tokens": view.prompt_tokens,
        "completion_tokens": view.completion_tokens,
        "usage": view.usage_source,
    }
