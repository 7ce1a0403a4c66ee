"""Requests: how far each has come, what was decided for it, and what was tried."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from nexus_proxy.config.model import Zone
from nexus_proxy.state.backends import Truncation


class RequestPhase(str, Enum):
    """How far a request has come."""

    ROUTING = "routing"
    QUEUED = "queued"
    """All backends that could serve it are busy."""
    WAITING = "waiting"
    """Sent to a backend, no token yet."""
    STREAMING = "streaming"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    """The client left, or the operator ended it."""


RUNNING = (
    RequestPhase.ROUTING,
    RequestPhase.QUEUED,
    RequestPhase.WAITING,
    RequestPhase.STREAMING,
)
OVER = (RequestPhase.DONE, RequestPhase.FAILED, RequestPhase.CANCELLED)


class AttemptView(Struct, frozen=True, kw_only=True):
    """One try at one backend. `error` is None for the one that answered; `code` is its kind."""

    backend: str
    model: str
    started: float
    connect_ms: float | None
    first_token_ms: float | None
    total_ms: float | None
    error: str | None
    code: str | None = None


class RejectionView(Struct, frozen=True, kw_only=True):
    """Why one backend was not a candidate: the stage that removed it, the reason, the cure."""

    backend: str
    model: str
    stage: str
    reason: str
    fix: str | None = None


class CandidateView(Struct, frozen=True, kw_only=True):
    """A backend that could serve, in the order of the schedule, with its score and its parts."""

    backend: str
    model: str
    score: float
    parts: dict[str, float] = {}


class DecisionView(Struct, frozen=True, kw_only=True):
    """The whole record of one routing decision; what `nexus why` and the request detail show."""

    model_asked: str
    model: str
    path: tuple[str, ...]
    """Names on the way from what was asked to what is served: aliases, `:latest`, fallbacks."""
    required_zone: Zone
    required_tier: int | None
    needs: tuple[str, ...]
    prompt_tokens: int
    strategy: str
    route_reason: str | None
    stages: tuple[tuple[str, str], ...]
    """(stage, sentence) in the order of STAGES."""
    candidates: tuple[CandidateView, ...]
    rejections: tuple[RejectionView, ...]


class Preview(Struct, frozen=True, kw_only=True):
    """Who would be asked first, were a short request for a model to come now: backends, each with
    the name that it knows the model by. Several share the place where only luck, or whose turn it
    is, decides; nobody: the request would be refused."""

    first: tuple[tuple[str, str], ...] = ()
    is_fallback: bool = False
    """It is another model, from the fallback chain."""


class RequestView(Struct, frozen=True, kw_only=True):
    """One request, running or finished. Never holds a prompt, an answer or a key."""

    id: str
    started: float
    endpoint: str
    client: str
    model_asked: str
    model: str | None
    backend: str | None
    stream: bool
    phase: RequestPhase
    status: int | None
    error: str | None
    prompt_tokens: int | None
    completion_tokens: int | None
    usage_source: str
    """`measured` (the backend said so), `estimated` or `unknown`."""
    first_token_ms: float | None
    total_ms: float | None
    route_ms: float | None
    queued_ms: float | None
    """How long it waited for a slot; None: it did not."""
    finish_reason: str | None
    cost_usd: float | None
    cost_source: str
    """`measured`, `estimated`, `unknown`, or `n/a` for what runs on one's own machines."""
    key: str | None
    """Name of the API key that it came with."""
    decision: DecisionView | None
    attempts: tuple[AttemptView, ...]
    worker: int | None = None
    """The process that served it, where several do."""
    notes: tuple[str, ...] = ()
    """What of it could not be carried over into the backend's dialect."""
    code: str | None = None
    """The kind of `error`, as clients are told it in `error.code`."""
    cached_tokens: int | None = None
    """Of the prompt's, read from the backend's cache."""
    reasoning_tokens: int | None = None
    """Of the completion's, thought and not said."""
    truncated: Truncation | None = None
    """The backend cut the prompt."""
