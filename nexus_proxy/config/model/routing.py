"""Where requests go, what they may cost, and how they wait: `[routing]` and `[queue]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from nexus_proxy.config.model.section import Count, Positive, Section, Tier, Usd
from nexus_proxy.config.model.words import BudgetAction, Privacy, Strategy


class WeightsConfig(Section, frozen=True):
    priority: Annotated[Count, Meta(description="Weight of the configured priority.")] = 50
    load: Annotated[Count, Meta(description="Weight of requests in flight against slots.")] = 30
    latency: Annotated[Count, Meta(description="Weight of the real first-token time.")] = 20


class PolicyConfig(Section, frozen=True):
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


class BudgetConfig(Section, frozen=True):
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


class RoutingConfig(Section, frozen=True):
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


class QueueConfig(Section, frozen=True):
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
