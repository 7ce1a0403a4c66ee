"""One line for each finished request; never a key, and a prompt or an answer only where
`logging.enable_content_logging` says so.

Lines are written for many requests at once: a write for each, and the machinery of the `logging`
module, cost more CPU than routing the request did.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from nexus_proxy.state import LogLine, RequestPhase
from nexus_proxy.telemetry.history import Record
from nexus_proxy.telemetry.logs import Logs

COMPONENT = "request"
log = logging.getLogger(f"nexus_proxy.{COMPONENT}")

_INFO, _WARNING = logging.INFO, logging.WARNING
_FAILED = RequestPhase.FAILED


class RequestLog:
    """A reader of `History`."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs

    def __call__(self, ended: Sequence[Record]) -> None:
        """Write a line for each request that ended."""
        least = log.getEffectiveLevel()
        wanted = [record for record in ended if _level(record) >= least]
        if wanted:
            write = _for_programs if self._logs.wants_fields else _for_people
            self._logs.write([write(record) for record in wanted])
        for record in ended:
            if record.said is not None:
                record.said = None


def _for_people(record: Record) -> tuple[LogLine, dict[str, object]]:
    sentence, said = _sentence(record), record.said
    if said is not None:
        sentence += f", asked {said.prompt!r}, answered {said.answer!r}"
    return _line(record, sentence), {}


def _for_programs(record: Record) -> tuple[LogLine, dict[str, object]]:
    fields, said = _fields(record), record.said
    if said is not None:
        fields.update(prompt=said.prompt, answer=said.answer)
    return _line(record, _sentence(record)), fields


def _level(record: Record) -> int:
    return _WARNING if record.phase is _FAILED or record.truncated is not None else _INFO


def _line(record: Record, message: str) -> LogLine:
    return LogLine(
        at=record.started + (record.total_ms or 0.0) / 1000.0,
        level="info" if _level(record) == _INFO else "warning",
        component=COMPONENT,
        message=message,
    )


def _sentence(record: Record) -> str:
    parts = [f"{record.id} {record.endpoint} {record.model_asked!r:.120}"]
    if record.model is not None and record.model != record.model_asked:
        parts.append(f"as {record.model!r:.120}")
    if record.backend:
        parts.append(f"on {record.backend} ({record.route_reason})")
    parts.append(f"{record.phase.value} {record.status or ''}".strip())
    if record.total_ms is not None:
        parts.append(f"in {record.total_ms:.0f} ms")
    if record.stream and record.first_token_ms is not None:
        parts.append(f"first token after {record.first_token_ms:.0f} ms")
    if record.completion_tokens is not None:
        read = "" if record.prompt_tokens is None else f"{record.prompt_tokens}+"
        parts.append(f"{read}{record.completion_tokens} tokens ({record.usage_source})")
    if record.truncated is not None:
        parts.append(f"its prompt was cut ({record.truncated})")
    if record.cost_usd is not None:
        parts.append(f"${record.cost_usd:.6f} ({record.cost_source})")
    if record.queued_ms is not None:
        parts.append(f"queued for {record.queued_ms:.0f} ms")
    if len(record.attempts) > 1:
        parts.append(f"{len(record.attempts)} attempts")
    if record.key is not None:
        parts.append(f"key {record.key}")
    parts.append(f"from {record.client}")
    return ", ".join(parts) + (f": {record.error}" if record.error else "")


def _fields(record: Record) -> dict[str, object]:
    return {
        "request_id": record.id,
        "client": record.client,
        "endpoint": record.endpoint,
        "model": record.model_asked,
        "served_model": record.model,
        "backend": record.backend,
        "reason": record.route_reason,
        "outcome": record.phase.value,
        "status": record.status,
        "error": record.error,
        "code": record.code,
        "finish_reason": record.finish_reason,
        "stream": record.stream,
        "attempts": len(record.attempts),
        "route_ms": _rounded(record.route_ms),
        "connect_ms": _rounded(record.attempts[-1].connect_ms if record.attempts else None),
        "first_token_ms": _rounded(record.first_token_ms),
        "total_ms": _rounded(record.total_ms),
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "cached_tokens": record.cached_tokens,
        "reasoning_tokens": record.reasoning_tokens,
        "usage": record.usage_source,
        "tokens_sent_at_least": record.truncated and record.truncated.sent,
        "cost_usd": record.cost_usd,
        "cost": record.cost_source,
        "queued_ms": _rounded(record.queued_ms),
        "key": record.key,
    }


def _rounded(ms: float | None) -> float | None:
    """To a microsecond: more than that is noise."""
    return None if ms is None else round(ms, 3)
