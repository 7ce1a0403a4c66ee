"""How a request, or one try of it, ended: in words, and in the figures that are learnt from it."""

from __future__ import annotations

import logging

from nexus_proxy.errors import NexusError, RequestCancelledError
from nexus_proxy.relay.call import Call
from nexus_proxy.relay.running import CANCELLED
from nexus_proxy.state import OVER, RequestPhase
from nexus_proxy.telemetry.history import CLIENT_LEFT, Attempt, Record

log = logging.getLogger(__name__)

LEFT = "the client left"
Pace = tuple[float | None, float | None]
"""Milliseconds to the first token, and tokens per second after it; None: not known."""
NO_PACE: Pace = (None, None)


def pace_of(call: Call, attempt: Attempt) -> Pace:
    """How fast a try was; of streams only."""
    first, total = attempt.first_token_ms, attempt.total_ms
    if first is None or total is None or not call.peek.stream:
        return NO_PACE
    tokens, generating_ms = call.record.completion_tokens or 0, total - first
    if tokens < 2 or generating_ms <= 0:
        return first, None
    return first, (tokens - 1) / generating_ms * 1000.0


def for_people(error: Exception, record: Record) -> NexusError:
    """What a client is told of an error; one that nobody foresaw goes to the log."""
    if isinstance(error, NexusError):
        return error
    log.error("request %s met a bug", record.id, exc_info=error)
    return NexusError("the gateway failed on this request; its log says why")


def note_leaving(record: Record) -> None:
    """The client left. One that had its answer, or its error, did not leave early."""
    if record.phase not in OVER:
        record.phase = RequestPhase.CANCELLED
        record.error, record.code = LEFT, CLIENT_LEFT


def why_it_ended(call: Call) -> tuple[str, str] | tuple[None, None]:
    """Error and code of a try that was cut off; None: its client had all of the answer."""
    if call.record.phase is RequestPhase.DONE:
        return None, None
    if call.cancelled:
        return CANCELLED, str(RequestCancelledError.code)
    return LEFT, CLIENT_LEFT
