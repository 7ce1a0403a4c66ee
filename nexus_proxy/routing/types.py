"""The values that routing works on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from nexus_proxy.config.model import Strategy, Zone
from nexus_proxy.routing.standing import Standing
from nexus_proxy.state import BackendState, BudgetStanding, Capability, ModelInfo, Traits

BYTES_PER_TOKEN = 4
"""The honest guess where no tokenizer is at hand; English text and code lie between 3 and 5."""


class Fingerprint:
    """The vectors that a backend made of a few texts with an embedding model. Compared by identity,
    since each is taken once."""

    __slots__ = ("vectors",)

    def __init__(self, vectors: Sequence[Sequence[float]]) -> None:
        self.vectors = vectors


class Routable(Protocol):
    """What routing reads of a backend. `registry.Backend` is one."""

    name: str
    zone: Zone
    tier: int
    priority: int
    enabled: bool
    accepted: bool
    drained: bool
    health: BackendState
    reason: str | None
    traits: Traits
    models: dict[str, ModelInfo]
    in_flight: int
    busy_elsewhere: int
    max_concurrent: int | None
    busy_until: float
    first_token_ms: dict[str, float]
    quality: dict[str, Standing]
    conversations: int
    loads_when_told: bool
    parked: frozenset[str]

    @property
    def claims(self) -> Mapping[str, object]:
        """Models that are being loaded or unloaded there, by id."""

    unable: dict[tuple[str, Capability], tuple[float, str]]
    vectors: dict[str, Fingerprint]

    @property
    def slots(self) -> int | None:
        """How many requests it can run at a time; None: unknown."""


class Home(NamedTuple):
    """The backend, and its model, that made the vectors which clients hold of a name."""

    backend: Routable
    model: str


class Catalogue(Protocol):
    """What routing reads of the registry."""

    aliases: dict[str, str]
    pins: dict[str, str]
    airplane: bool

    def __contains__(self, name: object) -> bool: ...

    def has_model(self, model_id: str) -> bool:
        """Whether some backend lists the model."""

    def model_ids(self) -> Iterable[str]:
        """Every model id that some backend lists."""

    def serving(self, model_id: str) -> Sequence[Routable]:
        """All backends that list the model, whatever their state."""

    def offers(self, model_id: str) -> Sequence[tuple[Routable, ModelInfo]]:
        """The same, each with what it says of the model."""

    def embedder(self, path: Sequence[str], pinned: str | None) -> Home | None:
        """Whose vectors are the ones for a request on its way over these names."""


class Demand(NamedTuple):
    """What a backend must fulfil: strictest of policy, key and header. Only ever tightened.

    `max_usd` is what one request may cost, in USD."""

    zone: Zone = Zone.OPEN
    min_tier: int | None = None
    fallback_allowed: bool = True
    max_usd: float | None = None


class Purse(Struct, frozen=True):
    """What a request may spend: where the month stands, what the caller allows in USD, and what it
    may cost at a candidate (0.0 where nothing is charged, None: unknown)."""

    standing: BudgetStanding
    max_usd: float | None
    estimate: Callable[[Candidate], float | None]


class RequestFacts(Struct, frozen=True, kw_only=True):
    """What a request is, as far as routing cares.

    `zone` is what the caller asks for (header), `strict` forbids the fallback chain, `flexible`
    allows any model of at least the same tier after it. `affinity` is the backend that has read the
    conversation, and with which model; `purse` is None where money is no question. `turn`
    counts requests (round robin), `now` is monotonic seconds, `luck` yields numbers in [0, 1).
    `stages` run in place of the usual ones, which they wrap (see `timing`). `reads_apart` and
    `route` as in `RequestPeek`; `embeds`: it asks for embeddings.
    """

    model_asked: str
    needs: frozenset[Capability] = frozenset()
    prompt_bytes: int = 0
    zone: Zone = Zone.OPEN
    strict: bool = False
    flexible: bool = False
    affinity: tuple[str, str] | None = None
    purse: Purse | None = None
    turn: int = 0
    now: float = 0.0
    luck: Callable[[], float] = lambda: 0.5
    stages: tuple[Stage, ...] | None = None
    reads_apart: bool = False
    route: Capability | None = None
    embeds: bool = False

    @property
    def prompt_tokens(self) -> int:
        """Estimate of the prompt's length in tokens."""
        return self.prompt_bytes // BYTES_PER_TOKEN


class Candidate(Struct):
    """A backend with one of its models. `served_id` is the name the backend knows it by.

    A struct, as a decision makes one for each backend: it costs a sixth of a dataclass.
    """

    backend: Routable
    model: ModelInfo
    served_id: str
    zone: Zone
    score: float = 0.0
    parts: tuple[float, ...] = ()


class Rejection(NamedTuple):
    """Why one candidate was removed, and what would bring it back."""

    backend: str
    model: str
    stage: str
    reason: str
    fix: str | None = None


class Selection(Struct, frozen=True):
    """What a stage works on beside the candidates."""

    facts: RequestFacts
    demand: Demand
    model: str
    pinned: str | None
    strategy: Strategy
    weights: Mapping[str, int]
    airplane: bool = False
    home: Home | None = None


Reject = Callable[[Candidate, str, "str | None"], None]
Keep = Callable[[Selection, "list[Candidate]", Reject], "list[Candidate]"]


class Stage(NamedTuple):
    """One stage: its name in records and errors, what it asks, and the function."""

    name: str
    question: str
    apply: Keep
