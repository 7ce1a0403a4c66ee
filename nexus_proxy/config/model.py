"""What can be configured: every key with its type, default, bounds and one line of help.

The structs are frozen: a reload makes a new `Config` and swaps it in. `Meta(description=…)` is
the help text that `nexus config init` writes beside the key, and the first of its `examples` what
it shows for a key without a default. Durations are seconds and money is
USD unless the key's name says otherwise.
"""

from __future__ import annotations

from enum import Enum
from functools import total_ordering
from typing import Annotated

from msgspec import Meta, Struct, field

from nexus_proxy.config.fleet import FleetConfig, LifecycleConfig
from nexus_proxy.config.section import Count, Positive, Tier, Usd
from nexus_proxy.config.section import Section as _Section

DEFAULT_PORT = 8000


@total_ordering
class Zone(Enum):
    """How far a prompt may travel, from open to closed. Comparison is by closedness.

    `label` is the name as configuration, headers, screens and JSON spell it, `rank` its place.
    """

    label: str
    rank: int

    OPEN = "open"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"
    RESTRICTED = "restricted"

    def __init__(self, label: str) -> None:
        self.label = label
        self.rank = len(type(self).__members__)

    def __lt__(self, other: Zone) -> bool:
        return self.rank < other.rank

    @classmethod
    def parse(cls, text: str) -> Zone:
        """Read a zone name in any case. Raises `ValueError` naming the zones that exist."""
        try:
            return cls[text.strip().upper()]
        except KeyError:
            known = ", ".join(zone.label for zone in cls)
            raise ValueError(f"unknown zone {text!r}; the zones are {known}") from None


class BackendType(str, Enum):
    """Kinds of backend that Nexus knows how to talk to."""

    OLLAMA = "ollama"
    LMSTUDIO = "lmstudio"
    VLLM = "vllm"
    LLAMACPP = "llamacpp"
    EXO = "exo"
    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GOOGLE = "google"
    GENERIC = "generic"


class Strategy(str, Enum):
    """How the schedule stage orders the candidates that are left."""

    SMART = "smart"
    ROUND_ROBIN = "round_robin"
    PRIORITY_ONLY = "priority_only"
    RANDOM = "random"
    LEAST_BUSY = "least_busy"

    __hash__ = str.__hash__  # in C, and the same; that of `Enum` is written in Python


class TrustMdns(str, Enum):
    """What happens with a host that announces itself over mDNS."""

    ASK = "ask"
    ALWAYS = "always"
    NEVER = "never"


class Privacy(str, Enum):
    """A policy's word on privacy: `restricted` requires the zone of the same name."""

    UNRESTRICTED = "unrestricted"
    RESTRICTED = "restricted"


class Priority(str, Enum):
    """Which class of the queue a request waits in."""

    HIGH = "high"
    NORMAL = "normal"


class LogLevel(str, Enum):
    """Verbosity of the log."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(str, Enum):
    """`pretty` for people, `json` for aggregators."""

    PRETTY = "pretty"
    JSON = "json"


class ServerConfig(_Section, frozen=True):
    host: Annotated[str, Meta(description="Address to listen on. Loopback by default.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Meta(ge=0, le=65535, description="Port; 0 takes any free one.")] = (
        DEFAULT_PORT
    )
    max_body_mb: Annotated[
        float, Meta(gt=0, description="Larger requests are refused with 413.")
    ] = 64
    allowed_origins: Annotated[
        list[str],
        Meta(
            description="Browser origins that may call the gateway, as globs. "
            "Empty: loopback pages and desktop apps."
        ),
    ] = field(default_factory=list)
    management_key_env: Annotated[
        str | None,
        Meta(
            description="Variable that holds the key for the management API off loopback.",
            examples=["NEXUS_MANAGEMENT_KEY"],
        ),
    ] = None
    allow_unauthenticated: Annotated[
        bool, Meta(description="Listen off loopback although no API key is set up.")
    ] = False


class TimeoutsConfig(_Section, frozen=True):
    connect_seconds: Annotated[Positive, Meta(description="To open a connection.")] = 3.0
    first_token_seconds: Annotated[
        Positive | None,
        Meta(
            description="From request to first token. Default: 600 local, 120 cloud.",
            examples=[600.0],
        ),
    ] = None
    idle_seconds: Annotated[Positive, Meta(description="Between two tokens.")] = 120.0
    total_seconds: Annotated[
        Positive | None,
        Meta(description="For the whole answer. Default: no limit.", examples=[3600.0]),
    ] = None
    load_seconds: Annotated[Positive, Meta(description="For a model that is being loaded.")] = 600.0


class DiscoveryConfig(_Section, frozen=True):
    enabled: Annotated[bool, Meta(description="Look for backends at all.")] = True
    local_ports: Annotated[bool, Meta(description="Probe well-known loopback ports.")] = True
    mdns: Annotated[bool, Meta(description="Browse the LAN for announced backends.")] = True
    service_types: Annotated[list[str], Meta(description="mDNS service types to browse.")] = field(
        default_factory=lambda: [
            "_nexus._tcp.local.",
            "_ollama._tcp.local.",
            "_llm._tcp.local.",
            "_openai._tcp.local.",
            "_saturn._tcp.local.",
        ]
    )
    trust_mdns: Annotated[
        TrustMdns,
        Meta(description="ask: listed, no traffic until accepted. always, never."),
    ] = TrustMdns.ASK
    cloud_from_env: Annotated[
        bool,
        Meta(description="List a cloud backend, disabled, for each provider key found."),
    ] = True
    grace_period_seconds: Annotated[
        Positive, Meta(description="A vanished mDNS backend is removed after this.")
    ] = 60.0


class HealthCheckConfig(_Section, frozen=True):
    enabled: Annotated[bool, Meta(description="Off: backends count as up.")] = True
    interval_seconds: Annotated[Positive, Meta(description="Between two checks.")] = 10.0
    timeout_seconds: Annotated[Positive, Meta(description="For one check.")] = 5.0
    failure_threshold: Annotated[
        int, Meta(ge=1, description="Failures in a row before a backend counts as down.")
    ] = 3
    recovery_threshold: Annotated[
        int, Meta(ge=1, description="Successes in a row before it counts as up again.")
    ] = 2


class WeightsConfig(_Section, frozen=True):
    priority: Annotated[Count, Meta(description="Weight of the configured priority.")] = 50
    load: Annotated[Count, Meta(description="Weight of requests in flight against slots.")] = 30
    latency: Annotated[Count, Meta(description="Weight of the real first-token time.")] = 20


class PolicyConfig(_Section, frozen=True):
    model_pattern: Annotated[
        str,
        Meta(
            min_length=1,
            description="Glob; matched against the name asked and served.",
            examples=["*-private"],
        ),
    ]
    privacy: Annotated[Privacy, Meta(description="restricted: restricted backends only.")] = (
        Privacy.UNRESTRICTED
    )
    min_tier: Annotated[
        Tier | None, Meta(description="Lowest backend tier, 1 to 5.", examples=[2])
    ] = None
    max_cost_per_request: Annotated[
        Usd | None,
        Meta(
            description="USD that one request may cost. Backends whose price is not known are "
            "left out.",
            examples=[0.05],
        ),
    ] = None
    fallback_allowed: Annotated[
        bool, Meta(description="May another model of the fallback chain answer?")
    ] = True


class BudgetAction(str, Enum):
    """What happens when the month's budget is spent."""

    WARN = "warn"
    BLOCK_CLOUD = "block_cloud"
    BLOCK_ALL = "block_all"


class BudgetConfig(_Section, frozen=True):
    monthly_limit_usd: Annotated[
        Annotated[float, Meta(ge=0, le=1e9)] | None,
        Meta(description="USD for all backends in a month. Default: no limit.", examples=[20.0]),
    ] = None
    soft_limit_percent: Annotated[
        float, Meta(ge=0, le=100, description="From here on what is local is preferred.")
    ] = 75.0
    hard_limit_action: Annotated[
        BudgetAction,
        Meta(description="At the limit: warn, block_cloud (local goes on) or block_all."),
    ] = BudgetAction.BLOCK_CLOUD
    time_zone: Annotated[
        str | None,
        Meta(
            description="Where the month begins, as an IANA name. Default: this machine's.",
            examples=["Europe/Zurich"],
        ),
    ] = None


class StateConfig(_Section, frozen=True):
    path: Annotated[
        str | None,
        Meta(
            description="File for spend, quality and history. Default: nexus.db in the user's "
            "data folder.",
            examples=["/var/lib/nexus/nexus.db"],
        ),
    ] = None
    url: Annotated[
        str | None,
        Meta(
            description="Redis or Valkey server through which several gateways share budgets, "
            "limits of API keys, drains and pins.",
            examples=["redis://10.0.0.5:6379/0"],
        ),
    ] = None
    password_env: Annotated[
        str | None,
        Meta(
            description="Variable that holds the password of that server.",
            examples=["REDIS_PASSWORD"],
        ),
    ] = None


class RoutingConfig(_Section, frozen=True):
    strategy: Annotated[
        Strategy,
        Meta(description="smart, round_robin, priority_only, random or least_busy."),
    ] = Strategy.SMART
    max_retries: Annotated[
        int, Meta(ge=0, le=10, description="Further attempts, each on another backend if any.")
    ] = 2
    weights: Annotated[WeightsConfig, Meta(description="What smart weighs.")] = field(
        default_factory=WeightsConfig
    )
    aliases: Annotated[
        dict[str, str],
        Meta(
            description="Name or glob asked for = model served; up to 3 hops.",
            examples=[{"claude-*-haiku*": "qwen3:8b", "gpt-4o": "qwen3:32b"}],
        ),
    ] = field(default_factory=dict)
    fallbacks: Annotated[
        dict[str, list[str]],
        Meta(
            description="Model = models to try when it cannot be served.",
            examples=[{"qwen3:32b": ["qwen3:8b"]}],
        ),
    ] = field(default_factory=dict)
    pins: Annotated[
        dict[str, str],
        Meta(
            description="Model = backend that serves it first.",
            examples=[{"qwen3:32b": "gpu-box"}],
        ),
    ] = field(default_factory=dict)
    airplane: Annotated[
        bool, Meta(description="Send nothing to clouds; `nexus airplane on|off` sets it.")
    ] = False
    stabilise_prompts: Annotated[
        bool,
        Meta(
            description="Leave Claude Code's billing header, another in each request, out of "
            "prompts that do not go to Anthropic: backends can then reuse what they have read."
        ),
    ] = True
    budget: Annotated[BudgetConfig, Meta(description="What may be spent.")] = field(
        default_factory=BudgetConfig
    )
    policies: Annotated[
        list[PolicyConfig], Meta(description="Privacy and tier by model; first match wins.")
    ] = field(default_factory=list)


class QualityConfig(_Section, frozen=True):
    error_rate_threshold: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="A backend with this share of faults in its last 20 requests for a model "
            "is left out, while another can serve.",
        ),
    ] = 0.5
    min_samples: Annotated[
        int, Meta(ge=1, le=1000, description="Fewer requests say nothing about a backend.")
    ] = 5
    ttft_penalty_threshold_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=3_600_000,
            description="A median first-token time above this lowers the score. 0: never.",
        ),
    ] = 3000
    metrics_interval_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="How often scores are made anew, and saved."),
    ] = 30.0


class QueueConfig(_Section, frozen=True):
    enabled: Annotated[
        bool,
        Meta(description="Wait for a free slot. Off: refused while all who could serve are busy."),
    ] = True
    max_size: Annotated[
        int, Meta(ge=1, le=100_000, description="Most requests that wait; further get 503.")
    ] = 100
    max_wait_seconds: Annotated[
        Positive, Meta(description="A request that waited so long gets 503.")
    ] = 30.0


class LoggingConfig(_Section, frozen=True):
    level: Annotated[LogLevel, Meta(description="debug, info, warning or error.")] = LogLevel.INFO
    format: Annotated[LogFormat, Meta(description="pretty or json.")] = LogFormat.PRETTY
    component_levels: Annotated[
        dict[str, LogLevel],
        Meta(description="Level of one part of Nexus.", examples=[{"relay": "debug"}]),
    ] = field(default_factory=dict)
    enable_content_logging: Annotated[
        bool,
        Meta(
            description="true: what is asked and answered is written into the log line of each "
            "request, 4000 characters of each. Keys never are."
        ),
    ] = False


class BackendConfig(_Section, frozen=True):
    name: Annotated[
        str,
        Meta(min_length=1, description="Unique name, shown everywhere.", examples=["gpu-box"]),
    ]
    url: Annotated[
        str,
        Meta(
            min_length=1,
            description="With or without /v1.",
            examples=["http://192.168.1.20:8000"],
        ),
    ]
    type: Annotated[
        BackendType | None,
        Meta(
            description="ollama, lmstudio, vllm, llamacpp, exo, openai, anthropic, google "
            "or generic. "
            "Left out: found out by asking the server.",
            examples=["vllm"],
        ),
    ] = None
    priority: Annotated[int, Meta(ge=0, description="Lower is preferred.")] = 50
    api_key_env: Annotated[
        str | None, Meta(description="Variable that holds its key.", examples=["GPU_BOX_KEY"])
    ] = None
    zone: Annotated[
        str | None,
        Meta(
            description="How far prompts may travel with it: open, internal, confidential or "
            "restricted. Default: restricted here, internal on the LAN, open in the cloud.",
            examples=["restricted"],
        ),
    ] = None
    tier: Annotated[
        Tier | None, Meta(description="Quality class, 1 to 5. Default: 1.", examples=[2])
    ] = None
    max_concurrent: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="Most requests at a time. Default: as it says itself.", examples=[4]),
    ] = None
    tags: Annotated[list[str], Meta(description="Words of your own.")] = field(default_factory=list)
    enabled: Annotated[bool, Meta(description="false: listed, but gets no traffic.")] = True
    drained: Annotated[bool, Meta(description="true: takes no new requests.")] = False
    models: Annotated[list[str], Meta(description="Globs; other models are not served.")] = field(
        default_factory=list
    )


class PriceConfig(_Section, frozen=True):
    model: Annotated[
        str,
        Meta(
            min_length=1,
            description="Glob; matched against the id that the backend serves. First match wins.",
            examples=["gpt-4o*"],
        ),
    ]
    backend: Annotated[
        str | None,
        Meta(description="Only on the backend of this name. Default: on any.", examples=["openai"]),
    ] = None
    input_usd_per_million: Annotated[
        Usd | None, Meta(description="USD per million prompt tokens.", examples=[2.5])
    ] = None
    output_usd_per_million: Annotated[
        Usd | None, Meta(description="USD per million generated tokens.", examples=[10.0])
    ] = None
    cached_input_usd_per_million: Annotated[
        Usd | None,
        Meta(
            description="USD per million prompt tokens that the provider had cached.",
            examples=[1.25],
        ),
    ] = None
    cache_write_usd_per_million: Annotated[
        Usd | None,
        Meta(description="USD per million prompt tokens that it puts there.", examples=[2.5]),
    ] = None


class KeyConfig(_Section, frozen=True):
    name: Annotated[
        str, Meta(min_length=1, description="Unique name, shown everywhere.", examples=["laptop"])
    ]
    hash: Annotated[
        str,
        Meta(
            min_length=1,
            description="Hash of the secret, as `nexus keys create` writes it.",
            examples=["sha256:" + "0" * 64],
        ),
    ]
    zone: Annotated[
        str | None,
        Meta(
            description="Its requests stay in this zone or a closer one: open, internal, "
            "confidential or restricted.",
            examples=["internal"],
        ),
    ] = None
    monthly_limit_usd: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="Most it may spend in a month. Default: no limit.", examples=[20.0]),
    ] = None
    requests_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(description="More are refused with 429. Default: no limit.", examples=[60]),
    ] = None
    tokens_per_minute: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="Prompt and answer together; more are refused with 429. Default: no limit.",
            examples=[100_000],
        ),
    ] = None
    models: Annotated[
        list[str],
        Meta(description="Globs of models or aliases it may ask for. Default: all."),
    ] = field(default_factory=list)
    priority: Annotated[Priority, Meta(description="Class in the queue: high or normal.")] = (
        Priority.NORMAL
    )


class Config(_Section, frozen=True):
    """The whole file."""

    server: ServerConfig = field(default_factory=ServerConfig)
    timeouts: TimeoutsConfig = field(default_factory=TimeoutsConfig)
    discovery: DiscoveryConfig = field(default_factory=DiscoveryConfig)
    health_check: HealthCheckConfig = field(default_factory=HealthCheckConfig)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    state: StateConfig = field(default_factory=StateConfig)
    queue: QueueConfig = field(default_factory=QueueConfig)
    lifecycle: LifecycleConfig = field(default_factory=LifecycleConfig)
    fleet: FleetConfig = field(default_factory=FleetConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    backends: Annotated[
        list[BackendConfig],
        Meta(description="Backends that are not found by themselves, or that need settings."),
    ] = field(default_factory=list)
    prices: Annotated[
        list[PriceConfig],
        Meta(
            description="What models cost, where the public prices of OpenAI, Anthropic and Google "
            "are not yours. What is left out is as public, and unknown where nothing is public."
        ),
    ] = field(default_factory=list)
    keys: Annotated[
        list[KeyConfig],
        Meta(
            description="API keys of clients. With one or more, every request needs one, on "
            "this machine too."
        ),
    ] = field(default_factory=list)


Origins = dict[str, str]
"""Dotted key -> where its value came from: `default`, `file:line`, `NEXUS_PORT`, `--port`."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A validated configuration and where each value came from."""

    config: Config
    origins: Origins = field(default_factory=dict)
    path: str | None = None
