"""What routes that list requests are asked for in their query."""

from __future__ import annotations

from datetime import datetime

from nexus_proxy.errors import InvalidRequestError
from nexus_proxy.state import RUNNING, RequestPhase


def whole_number(name: str, text: str | None, default: int) -> int:
    """A count. Raises `InvalidRequestError`."""
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise InvalidRequestError(f"{name} must be a number from 0 up, not {text[:40]!r}")
    return int(text)


def moment(text: str | None) -> float:
    """Seconds since the epoch, of a number of them or a time by ISO 8601; 0 without one. Raises
    `InvalidRequestError`."""
    if text is None:
        return 0.0
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text.replace(" ", "+")).timestamp()
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            "since must be seconds since the epoch or a time like 2026-11-26T18:00:00+01:00, "
            f"not {text[:40]!r}"
        ) from None


def phases(text: str | None, name: str = "status") -> tuple[RequestPhase, ...]:
    """The phases that a word means; all without one. Raises `InvalidRequestError`."""
    if text is None:
        return tuple(RequestPhase)
    if text == "running":
        return RUNNING
    try:
        return (RequestPhase(text),)
    except ValueError:
        known = ", ".join(["running", *(phase.value for phase in RequestPhase)])
        raise InvalidRequestError(f"{name} must be one of {known}, not {text[:40]!r}") from None
