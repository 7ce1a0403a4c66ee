"""One line for each finished request; never a prompt, an answer or a key.

Lines are collected and written four times a second: a write for each, and the machinery of the
`logging` module, cost more CPU than routing the request did.
"""

from __future__ import annotations

import asyncio
import logging

from nexus_proxy.errors import NotFoundError
from nexus_proxy.events import Event, RequestFinished
from nexus_proxy.state import LogLine, RequestPhase
from nexus_proxy.telemetry.history import History, Record
from nexus_proxy.telemetry.logs import Logs

FLUSH_SECONDS = 0.25
COMPONENT = "request"
log = logging.getLogger(f"nexus_proxy.{COMPONENT}")


class RequestLog:
    """Subscriber to `RequestFinished`. Call `flush` at the end of the run."""

    def __init__(self, history: History, logs: Logs) -> None:
        self._history, self._logs = history, logs
        self._pending: list[Record] = []
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, event: Event) -> None:
        """Note a request that finished."""
        if not isinstance(event, RequestFinished):
            return
        try:
            record = self._history.record(event.id)
        except NotFoundError:
            return
        if not log.isEnabledFor(_level(record)):
            return
        self._pending.append(record)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is pending."""
        if self._timer is not None:
            self._timer.cancel()
        pending, self._pending, self._timer = self._pending, [], None
        self._logs.write([(_line(record), _fields(record)) for record in pending])


def _level(record: Record) -> int:
    return logging.WARNING if record.phase is RequestPhase.FAILED else logging.INFO


def _line(record: Record) -> LogLine:
    return LogLine(
        at=record.started + (record.total_ms or 0.0) / 1000.0,
        level=logging.getLevelName(_level(record)).lower(),
        component=COMPONENT,
        message=_sentence(record),
    )


def _sentence(record: Record) -> str:
    parts = [f"{record.id} {record.endpoint} {record.model_asked!r:.120}"]
    if record.backend:
        parts.append(f"on {record.backend}")
    parts.append(f"{record.phase.value} {record.status or ''}".strip())
    if record.total_ms is not None:
        parts.append(f"in {record.total_ms:.0f} ms")
    if record.completion_tokens is not None:
        parts.append(f"{record.completion_tokens} tokens ({record.usage_source})")
    if len(record.attempts) > 1:
        parts.append(f"{len(record.attempts)} attempts")
    return ", ".join(parts) + (f": {record.error}" if record.error else "")


def _fields(record: Record) -> dict[str, object]:
    return {
        "request_id": record.id,
        "client": record.client,
        "endpoint": record.endpoint,
        "model": record.model_asked,
        "served_model": record.model,
        "backend": record.backend,
        "outcome": record.phase.value,
        "status": record.status,
        "stream": record.stream,
        "attempts": len(record.attempts),
        "route_ms": record.route_ms,
        "first_token_ms": record.first_token_ms,
        "total_ms": record.total_ms,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "usage": record.usage_source,
    }
