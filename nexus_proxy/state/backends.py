"""Backends: how they stand, what kind they are, and what a look at one saw."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.state.models import Capability, ModelInfo


class BackendState(str, Enum):
    """What a backend is doing, as one word. The first that applies, in this order."""

    DISABLED = "disabled"
    """Listed, but switched off by the operator or not accepted yet."""
    DOWN = "down"
    DRAINING = "draining"
    """Finishes what it has, takes nothing new."""
    LOADING = "loading"
    """Answers its health check, but is still loading its model."""
    UP = "up"
    UNKNOWN = "unknown"
    """Not checked yet."""


class Source(str, Enum):
    """How a backend came to be known."""

    CONFIG = "config"
    LOCAL_PORT = "local port"
    MDNS = "mdns"
    ENVIRONMENT = "environment"
    OPERATOR = "operator"
    DEMO = "demo"


class Traits(Struct, frozen=True, kw_only=True):
    """What a kind of backend can be trusted with. Each module states the observation behind it.

    Attributes:
        default_port: the port it listens on unless told otherwise; None where there is none.
        is_cloud: runs on somebody else's machines; zone `open`, patience 120 s.
        cancels_non_stream: stops generating when the client of a non-streaming request leaves.
            Where False, the relay asks for a stream and puts the answer together itself.
        reuse_after_stream: the connection may carry another request after a streamed answer.
        idle_reuse_seconds: a pooled connection older than this is not used again.
        answers_while_busy: answers its health path while it generates. None: to be learnt.
        stream_usage: tells usage in a stream only if asked to by `stream_options.include_usage`.
        swaps: loads a model when a request asks for it, and may throw another one out for it.
        sizes_context: a chat can ask for a longer context than is loaded, up to `max_context`.
        lacks: routes that no server of this kind has, whatever its model: it is not even asked.
    """

    default_port: int | None = None
    is_cloud: bool = False
    cancels_non_stream: bool = True
    reuse_after_stream: bool = True
    idle_reuse_seconds: float = 4.0
    answers_while_busy: bool | None = None
    stream_usage: bool = True
    swaps: bool = False
    sizes_context: bool = False
    lacks: frozenset[Capability] = frozenset()


class Probe(Struct, frozen=True, kw_only=True):
    """What one health check saw.

    Attributes:
        models: None when the list could not be read this time (the old one is kept).
        loading: it answers, but its model is not ready.
        slots: how many requests it runs at a time, where it tells.
        max_loaded: how many models it keeps loaded at a time, where it tells.
        busy: requests running inside it now, where it tells (ours and others').
        forwards: it is another Nexus, so that what it lists may be a third party's.
        loads_when_told: it loads and unloads models on command, by its adapter's `load`.
    """

    models: tuple[ModelInfo, ...] | None
    version: str | None = None
    loading: bool = False
    slots: int | None = None
    max_loaded: int | None = None
    busy: int | None = None
    note: str | None = None
    forwards: bool = False
    loads_when_told: bool = False


class Truncation(Struct, frozen=True, kw_only=True):
    """A backend cut a prompt without a word: how many tokens it counted, and how many were sent at
    least."""

    counted: int
    sent: int

    def __str__(self) -> str:
        return f"it counted {self.counted} tokens of at least {self.sent} that were sent"


class BackendView(Struct, frozen=True, kw_only=True):
    """One backend at one moment.

    `state` folds the switches into one word. `reason` says why it is not up; `warning` what is
    wrong with its answers although it is. `slots` is the number
    of requests it can run at a time; `slots_source` is `config`, `learnt` or None.
    """

    name: str
    url: str
    type: BackendType
    source: Source
    origin: str
    state: BackendState
    reason: str | None
    zone: Zone
    tier: int
    priority: int
    tags: tuple[str, ...]
    enabled: bool
    accepted: bool
    drained: bool
    pinned_models: tuple[str, ...]
    is_cloud: bool
    version: str | None
    models: tuple[ModelInfo, ...]
    slots: int | None
    slots_source: str | None
    in_flight: int
    requests: int
    failures: int
    probe_ms: float | None
    first_token_ms: float | None
    tokens_per_second: float | None
    last_seen: float | None
    state_since: float
    recent_errors: tuple[str, ...]
    loads_when_told: bool = False
    warning: str | None = None


class Sighting(Struct, frozen=True, kw_only=True):
    """What answers at a URL that is not listed. `name` and `zone` are what it would get, `kind` is
    its type, or `nexus`. `problem`: it is a backend, but the test of it failed; why."""

    url: str
    name: str
    kind: str
    version: str | None
    zone: Zone
    needs_key: bool
    key_variable: str | None
    models: tuple[str, ...] = ()
    probe_ms: float | None = None
    problem: str | None = None
