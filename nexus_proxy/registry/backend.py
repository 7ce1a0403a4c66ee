"""One backend, as the registry keeps it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

from nexus_proxy.config.model import BackendType, Zone
from nexus_proxy.routing.standing import Standing
from nexus_proxy.routing.types import Fingerprint
from nexus_proxy.state import BackendState, BackendView, Capability, ModelInfo, Source, Traits

RECENT_ERRORS = 8
COMPANIES_KEPT = 32
"""Sets of models seen loaded together that are remembered of a backend."""
WARNED_SECONDS = 900.0
"""How long a backend that cut a prompt is warned of; less if it restarts."""


class Claim(NamedTuple):
    """A model that is being loaded, or unloaded, so that requests for it wait.

    `until` is how long they do, and `ready_at` when it will be loaded by what was learnt (None:
    unknown), both in monotonic seconds.
    """

    loads: bool
    until: float
    ready_at: float | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Backend:
    """One backend, as the registry keeps it. Only `Registry` changes it.

    `address` is the canonical `host:port` that tells two names of one server apart from two
    servers. `api_key_env` names the variable; the key itself is never kept here.
    """

    name: str
    url: str
    address: str
    type: BackendType
    traits: Traits
    source: Source
    origin: str
    zone: Zone
    tier: int = 1
    priority: int = 50
    tags: tuple[str, ...] = ()
    api_key_env: str | None = None
    enabled: bool = True
    accepted: bool = True
    drained: bool = False
    allow_models: tuple[str, ...] = ()
    max_concurrent: int | None = None

    health: BackendState = BackendState.UNKNOWN
    reason: str | None = None
    version: str | None = None
    models: dict[str, ModelInfo] = field(default_factory=dict)
    learnt_slots: int | None = None
    max_loaded: int | None = None
    """How many models it keeps loaded at a time, where it tells."""
    seen_together: tuple[frozenset[str], ...] = ()
    """Sets of models that were seen loaded at the same time, the newest last: they fit together."""
    forwards: bool = False
    """It is another Nexus: what it lists may be ours, or a third party's."""
    loads_when_told: bool = False
    """It loads and unloads models on command, as of its last check."""
    claims: dict[str, Claim] = field(default_factory=dict)
    """Models that are being loaded or unloaded now, by id; owned by `nexus_proxy.lifecycle`."""
    parked: frozenset[str] = frozenset()
    """Models that an operator unloaded, which are asked for here only where nobody else has them;
    owned by `nexus_proxy.lifecycle`."""
    busy_elsewhere: int = 0
    """Requests that run inside it and are not ours, where it tells."""
    answers_while_busy: bool | None = None
    in_flight: int = 0
    running: dict[str, int] = field(default_factory=dict)
    """Our requests in flight by model; kept by `admission.slots`, as is their sum `in_flight`."""
    latest_model: str | None = None
    """The model that was asked for last, which it must have loaded since."""
    requests: int = 0
    failures: int = 0
    probe_ms: float | None = None
    first_token_ms: dict[str, float] = field(default_factory=dict)
    """Moving average by model, from real traffic."""
    tokens_per_second: float | None = None
    quality: dict[str, Standing] = field(default_factory=dict)
    """How it stands with each model that it served; owned by `nexus_proxy.quality`."""
    conversations: int = 0
    """How many it is likely to hold the prefix of; owned by `nexus_proxy.quality.affinity`."""
    busy_until: float = 0.0
    """Monotonic seconds until which it asked to be left alone (Retry-After)."""
    unable: dict[tuple[str, Capability], tuple[float, str]] = field(default_factory=dict)
    """Routes that it said it does not have for a model: until when (monotonic seconds) that is
    believed, and what it said."""
    vectors: dict[str, Fingerprint] = field(default_factory=dict)
    """What it made of a few texts with its embedding models, since it started."""
    sized: dict[str, int] = field(default_factory=dict)
    """Contexts in tokens that its models were loaded with because we asked for them."""
    truncation: tuple[float, str] | None = None
    """When it cut a prompt last (seconds since the epoch), and the sentence for that."""
    last_seen: float | None = None
    state_since: float = field(default_factory=time.time)
    errors: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT_ERRORS))
    _listed: tuple[dict[str, ModelInfo], tuple[str, ...], tuple[ModelInfo, ...]] | None = field(
        default=None, init=False
    )

    @property
    def state(self) -> BackendState:
        """The switches and the health, folded into one word."""
        if not self.enabled or not self.accepted:
            return BackendState.DISABLED
        if self.health is BackendState.DOWN:
            return BackendState.DOWN
        return BackendState.DRAINING if self.drained else self.health

    @property
    def slots(self) -> int | None:
        """How many requests it can run at a time, or None: unknown."""
        return self.max_concurrent if self.max_concurrent is not None else self.learnt_slots

    @property
    def listed(self) -> tuple[ModelInfo, ...]:
        """The models that the allow-list lets through; the same object until they change, since
        every snapshot has it."""
        known = self._listed
        if known is None or known[0] is not self.models or known[1] is not self.allow_models:
            served = tuple(model for model in self.models.values() if self.serves(model.id))
            self._listed = known = (self.models, self.allow_models, served)
        return known[2]

    def serves(self, model_id: str) -> bool:
        """Whether the allow-list lets this model through."""
        return not self.allow_models or any(
            fnmatchcase(model_id, pattern) for pattern in self.allow_models
        )

    def names(self) -> dict[str, ModelInfo]:
        """Its models by every name they go by; an id beats another model's alias."""
        served = self.listed
        by_alias = {alias: model for model in reversed(served) for alias in model.aliases}
        return {**by_alias, **{model.id: model for model in served}}

    @property
    def warning(self) -> str | None:
        """What is wrong with its answers although it is up."""
        at, sentence = self.truncation or (0.0, "")
        return sentence if time.time() - at < WARNED_SECONDS else None

    def note_company(self) -> None:
        """Remember which models are loaded side by side."""
        loaded = frozenset(model.id for model in self.models.values() if model.loaded)
        if len(loaded) > 1 and not any(loaded <= known for known in self.seen_together):
            larger = [known for known in self.seen_together if not known <= loaded]
            self.seen_together = (*larger, loaded)[-COMPANIES_KEPT:]

    def note_sizes(self) -> None:
        """Forget the contexts that we asked for and that are not loaded any more. While a request
        runs it may be just being loaded."""
        for model, size in tuple(self.sized.items()):
            info = self.models.get(model)
            is_loaded = info is not None and info.loaded and info.context_length == size
            if not is_loaded and not self.running.get(model):
                del self.sized[model]

    def forget_start(self) -> None:
        """What was so since it started may not be so any more."""
        self.unable.clear()
        self.truncation = None
        self.sized.clear()

    def view(self, pins: Mapping[str, str]) -> BackendView:
        """It as a frozen value. `pins` are all, by model."""
        averages = self.first_token_ms.values()
        source = "config" if self.max_concurrent is not None else "learnt"
        return BackendView(
            name=self.name,
            url=self.url,
            type=self.type,
            source=self.source,
            origin=self.origin,
            state=self.state,
            reason=self.reason,
            zone=self.zone,
            tier=self.tier,
            priority=self.priority,
            tags=self.tags,
            enabled=self.enabled,
            accepted=self.accepted,
            drained=self.drained,
            pinned_models=tuple(m for m, name in pins.items() if name == self.name),
            is_cloud=self.traits.is_cloud,
            version=self.version,
            models=self.listed,
            slots=self.slots,
            slots_source=None if self.slots is None else source,
            in_flight=self.in_flight,
            requests=self.requests,
            failures=self.failures,
            probe_ms=self.probe_ms,
            first_token_ms=sum(averages) / len(averages) if averages else None,
            tokens_per_second=self.tokens_per_second,
            last_seen=self.last_seen,
            state_since=self.state_since,
            recent_errors=tuple(self.errors),
            loads_when_told=self.loads_when_told,
            warning=self.warning,
        )
