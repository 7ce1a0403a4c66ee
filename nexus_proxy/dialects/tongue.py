"""What is needed to ask a backend that speaks no chat: the other way round than `base.Dialect`.

A chat request becomes a request of the backend's own dialect as its last step before it is sent,
and what comes back becomes chat again before anything else looks at it. So the relay reads one
dialect, whatever the backend speaks; and a caller of a third dialect is served through both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from nexus_proxy.dialects.base import Json
from nexus_proxy.dialects.openai_stream import Usage
from nexus_proxy.state import ModelInfo


class Said(Struct, frozen=True, kw_only=True):
    """A chat request in a backend's own dialect. `notes`: what it cannot carry, as sentences
    without a full stop."""

    body: Json
    notes: Sequence[str] = ()


class Failed(Struct, frozen=True, kw_only=True):
    """An error as chat's: status, body, and the seconds to wait that it told in its body."""

    status: int
    body: bytes
    retry_after: float | None = None


class Named(Struct, frozen=True, kw_only=True):
    """How an answer of chat names itself: the model as its client asked for it, and when, in
    seconds since the epoch."""

    model: str
    created: int


class Ear(Protocol):
    """Turns one stream of a backend's into the events of a chat stream.

    Attributes:
        beat: the last bytes proved that the backend is at work, though they hold no token.
    """

    beat: bool

    @property
    def pending(self) -> int:
        """Bytes of an event that has not ended."""

    def feed(self, data: bytes) -> bytes:
        """Whole events of chat for bytes that may be cut anywhere. Raises `ValueError` for what
        makes no sense."""


class Tongue(Protocol):
    """One dialect as backends speak it.

    Attributes:
        headers: further lines of a request's head, each with its line end.
        key_header: the header that carries the key; None: the one that its adapter says.
    """

    headers: bytes
    key_header: str | None

    def path(self, model: str, *, streams: bool) -> str:
        """Where it is asked, below a backend's base URL."""

    def say(self, chat: Json, model: ModelInfo, room: int | None) -> Said:
        """A chat request for `model`, in whose context `room` tokens are left for an answer.
        Raises `InvalidRequestError` where the answer would not be the one that was asked for."""

    def whole(self, body: bytes, named: Named) -> bytes:
        """A whole answer as chat's. Raises `ValueError` for what is none."""

    def ear(self, named: Named) -> Ear:
        """A translator for one stream."""

    def failure(self, status: int, body: bytes) -> Failed:
        """An error that was answered."""


def usage_fields(usage: Usage | None) -> Json:
    """Counts and service tier as an answer of chat tells them; nothing where there are none."""
    if usage is None:
        return {}
    told: Json = _bare(msgspec.to_builtins(usage))
    tier = told.pop("service_tier", None)
    return {"usage": told} if tier is None else {"usage": told, "service_tier": tier}


def _bare(value: Json) -> Json:
    return {
        key: _bare(inner) if isinstance(inner, dict) else inner
        for key, inner in value.items()
        if inner is not None
    }
