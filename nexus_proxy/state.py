"""All that a reader may see: frozen views, made by `Runtime.snapshot()`, shared by UI, CLI and API.

Times are seconds since the epoch unless a name ends in `_ms`. `None` means unknown, never zero.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from nexus_proxy.config.model import BackendType, Priority, Zone
from nexus_proxy.operations import OperationView
from nexus_proxy.trends import BackendTrend, Trend


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


class Capability(str, Enum):
    """What a model can do. Absent from both sets of a `ModelInfo`: unknown, and allowed."""

    CHAT = "chat"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    TOOLS = "tools"
    VISION = "vision"
    AUDIO = "audio"
    THINKING = "thinking"
    JSON_SCHEMA = "json_schema"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    """Speech to text, in its language or in English."""
    SPEECH = "speech"
    IMAGES = "images"
    """Makes or changes pictures."""
    MODERATION = "moderation"

    __hash__ = str.__hash__  # in C, and the same; that of `Enum` is written in Python


class ModelInfo(Struct, frozen=True, kw_only=True):
    """One model as one backend serves it.

    `context_length` is what a request can use now, in tokens (llama.cpp: per slot); `max_context`
    what the model was trained for; `max_output` the longest answer, where it is bounded by
    itself. `loaded` is None where the backend does not tell. `remote`
    models are run elsewhere by the backend (Ollama cloud) and live in the zone `open`.
    `vram_bytes` is what it takes of the GPU's memory while it is loaded, where that is told.
    """

    id: str
    context_length: int | None = None
    max_context: int | None = None
    max_output: int | None = None
    can: frozenset[Capability] = frozenset()
    cannot: frozenset[Capability] = frozenset()
    loaded: bool | None = None
    remote: bool = False
    quantization: str | None = None
    parameters: str | None = None
    size_bytes: int | None = None
    vram_bytes: int | None = None
    aliases: tuple[str, ...] = ()


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


class QualityState(str, Enum):
    """Whether a backend is used for a model, as far as its faults are concerned."""

    IN_USE = "in use"
    EXCLUDED = "left out"
    """It failed too often, and rests. It serves only where nobody else can."""
    HALF_OPEN = "on trial"
    """Its rest is over: one request at a time tries it again."""


class QualityWindow(Struct, frozen=True, kw_only=True):
    """What a backend did with a model over some span of time.

    `faults` are the backend's own and count cut streams; mistakes of callers and clients that left
    are in none of the numbers. `first_token_ms` is the mean; times are milliseconds.
    """

    requests: int = 0
    faults: int = 0
    cuts: int = 0
    first_token_ms: float | None = None
    first_token_p50_ms: float | None = None
    first_token_p95_ms: float | None = None
    tokens_per_second: float | None = None


class QualityParts(Struct, frozen=True, kw_only=True):
    """What a score is made of, each 0 to 100; None: unknown, and not counted."""

    success: float | None = None
    whole: float | None = None
    """Streams that were not cut."""
    first_token: float | None = None
    rate: float | None = None


class QualityView(Struct, frozen=True, kw_only=True):
    """How well a backend serves a model.

    `score` is 0 to 100, None with too few samples. `excluded_until` is when it may be tried again,
    and `reason` why it is left out; both None while it is in use. The trends are the last hour in
    parts of five minutes, oldest first: share of requests that went well (0 to 1), and mean
    first-token time; None where there was nothing.
    """

    backend: str
    model: str
    score: float | None
    parts: QualityParts
    hour: QualityWindow
    day: QualityWindow
    state: QualityState = QualityState.IN_USE
    state_since: float | None = None
    excluded_until: float | None = None
    reason: str | None = None
    success_trend: tuple[float | None, ...] = ()
    first_token_trend: tuple[float | None, ...] = ()


class BudgetLevel(str, Enum):
    """How near spend is to its limit."""

    OK = "ok"
    SOFT = "soft"
    """Past the soft limit: what is local is preferred."""
    HARD = "hard"


class BudgetStanding(Struct, frozen=True, kw_only=True):
    """The money of one month, in USD. `unknown_requests` have no known price and are in no sum.
    `limit_usd` None: no limit. `action` is what happens at `hard`. For `level`, what is put aside
    is as good as spent."""

    month: str
    spent_usd: float
    reserved_usd: float
    unknown_requests: int
    limit_usd: float | None
    soft_percent: float
    action: str
    level: BudgetLevel


class SpendRow(Struct, frozen=True, kw_only=True):
    """Requests of one day, backend, model or API key (`label`), money in USD. `free_requests` ran
    on one's own machines; `unknown_requests` have no known price and are in no sum."""

    label: str
    requests: int
    usd_measured: float
    usd_estimated: float
    usd_reserved: float
    unknown_requests: int
    free_requests: int
    prompt_tokens: int
    completion_tokens: int


class SpendReport(Struct, frozen=True, kw_only=True):
    """A month (`YYYY-MM`) of spend. `forecast_usd` is for the whole month, estimated; None with too
    little behind it, or for a month that is over. `elsewhere_usd` is what other replicas have spent
    and put aside in the month in force; it counts against the limit and is in no row."""

    month: str
    by: str
    rows: tuple[SpendRow, ...]
    spent_usd: float
    reserved_usd: float
    unknown_requests: int
    forecast_usd: float | None
    limit_usd: float | None = None
    elsewhere_usd: float = 0.0
    soft_percent: float | None = None
    """Share of the limit from which on what is local is preferred."""


class SpendSummary(Struct, frozen=True, kw_only=True):
    """A month (`YYYY-MM`) of spend as the screen shows it. Days are in order, up to `today`
    (`YYYY-MM-DD`), zeros included; the others dearest first, and bounded. `forecast_usd` as in
    `SpendReport`."""

    month: str
    today: str
    days: tuple[SpendRow, ...]
    backends: tuple[SpendRow, ...]
    models: tuple[SpendRow, ...]
    keys: tuple[SpendRow, ...]
    forecast_usd: float | None


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


class KeyView(Struct, frozen=True, kw_only=True):
    """One API key at one moment; never its secret, nor the hash of it.

    `requests_left` and `tokens_left` are what it may use at once, None where it has no such limit.
    `requests`, `refused` (for a limit) and `tokens` count since the start of the gateway.
    `spent_usd` is of this month; None: unknown.
    """

    name: str
    zone: Zone
    priority: str
    models: tuple[str, ...]
    requests_per_minute: int | None
    requests_left: int | None
    tokens_per_minute: int | None
    tokens_left: int | None
    monthly_limit_usd: float | None
    spent_usd: float | None
    requests: int
    refused: int
    tokens: int
    last_used: float | None


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why a waiting request is not on one of the backends that could serve it: `all 2 slots
    taken`, `swap: qwen3:8b runs 1 request`."""

    backend: str
    model: str
    why: str


class WaiterView(Struct, frozen=True, kw_only=True):
    """One request that waits for a slot. `position` counts from 1; `eta_seconds` is None while
    nothing was measured on the backends that it waits for."""

    id: str
    model: str
    priority: Priority
    since: float
    position: int
    eta_seconds: float | None
    waits_for: tuple[Obstacle, ...]


class QueueView(Struct, frozen=True, kw_only=True):
    """The queue at one moment: its settings, and who waits, in the order of service."""

    enabled: bool
    max_size: int
    max_wait_seconds: float
    waiting: tuple[WaiterView, ...]


class LogLine(Struct, frozen=True, kw_only=True):
    """One log record, redacted. `worker` is the process that wrote it, where several do."""

    at: float
    level: str
    component: str
    message: str
    worker: int | None = None


class Totals(Struct, frozen=True, kw_only=True):
    """Counters since start and rates over the last ten seconds."""

    requests: int
    failures: int
    cancelled: int
    in_flight: int
    requests_per_second: float
    tokens_per_second: float


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


class Snapshot(Struct, frozen=True, kw_only=True):
    """The gateway at one moment. `requests` is newest first and bounded (running ones are always
    all there). `problems` are sentences about what is wrong now, worst first."""

    taken_at: float
    version: str
    endpoint: str
    started_at: float
    draining: bool
    config_path: str | None
    strategy: str
    totals: Totals
    backends: tuple[BackendView, ...]
    requests: tuple[RequestView, ...]
    logs: tuple[LogLine, ...]
    aliases: dict[str, str]
    pins: dict[str, str]
    problems: tuple[str, ...]
    keys: tuple[KeyView, ...]
    """API keys by name; none: nobody needs one."""
    searching: tuple[str, ...]
    """Where discovery looks, in words: `127.0.0.1:11434 (Ollama)`, `mDNS _ollama._tcp`."""
    budget: BudgetStanding | None = None
    spend: SpendSummary | None = None
    """None until it was read from the ledger; up to some seconds old."""
    quality: tuple[QualityView, ...] = ()
    """By model, best first; those without a score last."""
    queue: tuple[WaiterView, ...] = ()
    """Who waits for a slot, in the order of service."""
    trends: dict[str, BackendTrend] = {}
    """By backend; only those that served lately."""
    airplane: bool = False
    """Nothing is sent to clouds."""
    replicas: int | None = None
    """How many gateways share `state.url`, this one included; None: it shares nothing."""
    fallbacks: dict[str, tuple[str, ...]] = {}
    """Model -> models that are tried where it cannot be served, in this order."""
    trend: Trend = Trend()
    operations: tuple[OperationView, ...] = ()
    """Models that are loaded, unloaded or moved: those that run, then those that ended, newest
    first."""
